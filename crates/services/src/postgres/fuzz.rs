//! What `fuzz/` feeds with bytes, for SQL that is built.

use std::collections::BTreeMap;

pub use super::convert::fuzz::values;
use super::service::builder::{
    Built, Condition, Invalid, Operator, Selection, delete, insert, select, update,
};

/// Structured calls of any names, operators and orders: what the caller names stays between quotes, and its values are
/// never in the text.
pub fn sql(data: &[u8]) {
    let parts: Vec<String> = data
        .split(|byte| *byte == 0xff)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    let part = |at: usize| parts.get(at).map_or("", String::as_str);
    let (table, column, order) = (part(0), part(1), part(3).to_owned());
    let value = "the value".to_owned();
    let conditions: Vec<_> = Operator::parse(part(2))
        .into_iter()
        .map(|operator| Condition {
            column,
            operator,
            values: vec![value.clone(), value.clone()],
        })
        .collect();
    let columns: Vec<String> = parts.iter().skip(4).cloned().collect();
    let row = || {
        parts
            .iter()
            .skip(1)
            .map(|name| (name.clone(), value.clone()))
            .collect::<BTreeMap<_, _>>()
    };

    check(select(
        "s",
        table,
        Selection {
            columns: &columns,
            conditions: &conditions,
            order_by: &[order],
            limit: Some(value.clone()),
            offset: None,
        },
    ));
    check(update("s", table, row(), &conditions, true));
    check(delete("s", table, &conditions, false));
    if let Ok(all) = insert("s", table, vec![row(), BTreeMap::new(), row()], true) {
        all.into_iter().for_each(|built| check(Ok(built)));
    }
}

fn check(built: Result<Built<String>, Invalid>) {
    let Ok(built) = built else { return };
    // Outside of quotes nothing is left of what the caller wrote. A quote inside a name is doubled, which splits the name in
    // two with nothing between.
    let bare: String = built.sql.split('"').step_by(2).collect();
    let ours = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "s.$(),*=<>@& ".contains(c);
    assert!(bare.chars().all(ours), "{}", built.sql);
    assert_eq!(built.sql.matches('"').count() % 2, 0, "{}", built.sql);
    assert!(!built.sql.contains('\0'), "{}", built.sql);
    let mut numbers: Vec<usize> = bare
        .split('$')
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect();
    numbers.dedup();
    let all: Vec<usize> = (1..=built.values.len()).collect();
    assert_eq!(numbers, all, "{}", built.sql);
}

#[cfg(test)]
mod tests {
    #[test]
    fn sql_holds_on_its_corpus() {
        crate::fuzz::corpus("sql", super::sql);
    }
}
