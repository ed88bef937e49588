use super::Failure;

/// Longest name of a collection, as in Qdrant.
pub(crate) const MAX_COLLECTION: usize = 255;
/// Longest name of a vector: leaves room for what the engine puts before it in a file name of at most 255 bytes.
pub(crate) const MAX_VECTOR: usize = 200;

/// Checks the name of a collection or of a vector. Vector names become part of file names, collection names part of
/// URLs; the rules are Qdrant's own.
pub(crate) fn check(field: &str, name: &str, max: usize) -> Result<(), Failure> {
    let wrong = |why: &str| Err(Failure::Invalid(format!("{field}: the name {name:?} {why}")));
    if name.is_empty() {
        return wrong("is empty");
    }
    if name.len() > max {
        return Err(Failure::Invalid(format!(
            "{field}: a name of {} bytes is longer than {max}",
            name.len()
        )));
    }
    if name == "." || name == ".." {
        return wrong("is the name of a folder");
    }
    let forbidden = |c: char| c.is_control() || "<>:\"/\\|?*".contains(c);
    if let Some(c) = name.chars().find(|c| forbidden(*c)) {
        return wrong(&format!("has the character {c:?}, which names must not have"));
    }
    Ok(())
}
