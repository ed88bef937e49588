//! The targets of `fuzz/`: functions of bytes that fail by a panic. This crate's tests run them on `fuzz/corpus/`.

pub use crate::postgres::fuzz::{sql, values};

/// Runs a target on what its corpus has, and on what is left of that when it breaks off.
#[cfg(test)]
pub(crate) fn corpus(target: &str, run: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let data = std::fs::read(entry.unwrap().path()).unwrap();
        (0..=data.len()).for_each(|end| run(&data[..end]));
        count += 1;
    }
    assert!(count > 0, "{target} has no corpus");
}
