//! Names that are not what they seem.

use crate::fixture::Names;

/// Names for every text of a request: paths, patterns, separators of every engine, other tenants' names in the engine.
pub(crate) fn names(of: &Names) -> Vec<String> {
    let m = &of.mine;
    let mut names: Vec<String> = [
        "",
        "../",
        "..",
        "..%2f..%2f",
        "*",
        ">",
        "?[a-z]*",
        "a b\tc\r\nd",
        "\0",
        "a\0b",
        "%00",
        "\u{202e}\u{feff}ключ-键-🔑",
        "e\u{301}",
        "'; drop table x; --",
        "\"; --",
        "$1",
        "${x}",
        "{a}",
        "\\",
        ".",
        ":",
        "-1",
        "$SYS.>",
        "$JS.API.>",
        "__proto__",
    ]
    .map(str::to_owned)
    .into();
    names.push("x".repeat(10 * 1024));
    names.push("é".repeat(5 * 1024));
    names.push(format!("../{m}-bucket"));
    names.push(format!("{m}*"));
    names.push(format!("{m}.>"));
    for slug in &of.slugs {
        names.extend([
            format!("{slug}:{m}-string"),
            format!("t:{slug}:{m}-string"),
            format!("t.{slug}.{m}.events.a"),
            format!("t.{slug}.>"),
            format!("{slug}.>"),
            format!("t_{slug}.{m}_t"),
            format!("{slug}-{m}-bucket"),
            format!("{slug}_{m}-stream"),
            format!("{slug}/lock:{m}-lock"),
            format!("../{slug}:{m}-string"),
            slug.clone(),
        ]);
    }
    names
}
