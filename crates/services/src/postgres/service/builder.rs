//! SQL of structured calls. Names are quoted, and values are never in the text: each becomes a `$n`, and stands in the
//! list beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// Longest name: PostgreSQL would cut off the rest, and find something else.
const MAX_NAME: usize = 63;

/// Most parameters of one statement of many rows. The protocol has room for 65535.
const MAX_VALUES: usize = 16_384;

/// What is wrong with a part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Invalid {
    /// Such as `where[2].operator`.
    pub(in crate::postgres) field: String,
    pub(in crate::postgres) why: String,
}

impl Invalid {
    pub(in crate::postgres) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            why: why.into(),
        }
    }
}

/// A statement, and what goes with it: value of `$1` first, each with the field it came from.
#[derive(Debug, PartialEq)]
pub(in crate::postgres) struct Built<V> {
    pub(in crate::postgres) sql: String,
    pub(in crate::postgres) values: Vec<(V, String)>,
}

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum Operator {
    /// An operator between the column and one value.
    Infix(&'static str),
    /// One of a list, or none of it: one value, the list.
    In,
    NotIn,
    /// Two values.
    Between,
    /// None.
    IsNull,
    IsNotNull,
}

impl Operator {
    /// By its name in any case, with single blanks. Empty is `=`.
    pub(in crate::postgres) fn parse(name: &str) -> Option<Self> {
        let words: Vec<String> = name
            .split_ascii_whitespace()
            .map(str::to_ascii_uppercase)
            .collect();
        Some(match words.join(" ").as_str() {
            "" | "=" | "==" => Self::Infix("="),
            "!=" | "<>" => Self::Infix("<>"),
            "<" => Self::Infix("<"),
            "<=" => Self::Infix("<="),
            ">" => Self::Infix(">"),
            ">=" => Self::Infix(">="),
            "LIKE" => Self::Infix("LIKE"),
            "NOT LIKE" => Self::Infix("NOT LIKE"),
            "ILIKE" => Self::Infix("ILIKE"),
            "NOT ILIKE" => Self::Infix("NOT ILIKE"),
            "@>" => Self::Infix("@>"),
            "<@" => Self::Infix("<@"),
            "&&" => Self::Infix("&&"),
            "IN" => Self::In,
            "NOT IN" => Self::NotIn,
            "BETWEEN" => Self::Between,
            "IS NULL" => Self::IsNull,
            "IS NOT NULL" => Self::IsNotNull,
            _ => return None,
        })
    }
}

/// A condition, with as many values as its operator takes.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::postgres) struct Condition<'a, V> {
    pub(in crate::postgres) column: &'a str,
    pub(in crate::postgres) operator: Operator,
    pub(in crate::postgres) values: Vec<V>,
}

/// A name as SQL has it.
pub(in crate::postgres) fn quote(field: &str, name: &str) -> Result<String, Invalid> {
    let why = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_NAME {
        "is longer than 63 bytes"
    } else if name.contains('\0') {
        "has a NUL character"
    } else {
        return Ok(format!("\"{}\"", name.replace('"', "\"\"")));
    };
    Err(Invalid::new(field, why))
}

/// Which rows and columns to read, in which order. `limit` 0 is all.
#[derive(Debug)]
pub(in crate::postgres) struct Selection<'a, V> {
    pub(in crate::postgres) columns: &'a [String],
    pub(in crate::postgres) conditions: &'a [Condition<'a, V>],
    pub(in crate::postgres) order_by: &'a [String],
    pub(in crate::postgres) limit: Option<V>,
    pub(in crate::postgres) offset: Option<V>,
}

/// `schema` needs no quotes; `table` is quoted here.
pub(in crate::postgres) fn select<V: Clone>(
    schema: &str,
    table: &str,
    what: Selection<'_, V>,
) -> Result<Built<V>, Invalid> {
    let mut build = Build::new();
    let columns = what.columns.iter().enumerate();
    let columns: Vec<String> = columns
        .map(|(at, name)| quote(&format!("columns[{at}]"), name))
        .collect::<Result<_, _>>()?;
    let columns = if columns.is_empty() {
        "*".into()
    } else {
        columns.join(", ")
    };
    let _ = write!(
        build.sql,
        "SELECT {columns} FROM {schema}.{}",
        quote("table", table)?
    );
    build.conditions(what.conditions)?;
    for (at, order) in what.order_by.iter().enumerate() {
        build.sql.push_str(if at == 0 { " ORDER BY " } else { ", " });
        build.sql.push_str(&ordering(&format!("order_by[{at}]"), order)?);
    }
    for (word, field, value) in [
        (" LIMIT ", "limit", what.limit),
        (" OFFSET ", "offset", what.offset),
    ] {
        if let Some(value) = value {
            build.sql.push_str(word);
            build.value(value, field.into());
        }
    }
    Ok(build.done())
}

/// `column [ASC | DESC] [NULLS FIRST | NULLS LAST]`
fn ordering(field: &str, text: &str) -> Result<String, Invalid> {
    let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
    let ends_with = |words: &[&str], end: &[&str]| {
        words.len() > end.len()
            && words[words.len() - end.len()..]
                .iter()
                .zip(end)
                .all(|(word, other)| word.eq_ignore_ascii_case(other))
    };
    let mut suffix = "";
    for nulls in [" NULLS FIRST", " NULLS LAST"] {
        if ends_with(&words, &nulls.split_ascii_whitespace().collect::<Vec<_>>()) {
            suffix = nulls;
            words.truncate(words.len() - 2);
        }
    }
    let mut direction = "";
    for way in [" ASC", " DESC"] {
        if direction.is_empty() && ends_with(&words, &[way.trim_start()]) {
            direction = way;
            words.pop();
        }
    }
    let [column] = words.as_slice() else {
        return Err(Invalid::new(
            field,
            "is not a column, then optionally ASC or DESC, then optionally NULLS FIRST or NULLS LAST",
        ));
    };
    Ok(format!("{}{direction}{suffix}", quote(field, column)?))
}

/// Statements that add the rows, in order: as few as the number of values allows.
pub(in crate::postgres) fn insert<V>(
    schema: &str,
    table: &str,
    rows: Vec<BTreeMap<String, V>>,
    returning: bool,
) -> Result<Vec<Built<V>>, Invalid> {
    let table = quote("table", table)?;
    let names: BTreeSet<String> = rows.iter().flat_map(BTreeMap::keys).cloned().collect();
    let mut columns = Vec::with_capacity(names.len());
    for name in &names {
        columns.push(quote(&format!("rows: column {name:?}"), name)?);
    }
    let returning = if returning { " RETURNING *" } else { "" };
    if names.is_empty() {
        let all = rows.iter().map(|_| Built {
            sql: format!("INSERT INTO {schema}.{table} DEFAULT VALUES{returning}"),
            values: Vec::new(),
        });
        return Ok(all.collect());
    }
    if names.len() > MAX_VALUES {
        return Err(Invalid::new(
            "rows",
            format!("have {} columns in all", names.len()),
        ));
    }
    let at_once = MAX_VALUES / names.len();
    let mut all = Vec::with_capacity(rows.len().div_ceil(at_once));
    let mut build = Build::new();
    let count = rows.len();
    for (at, mut row) in rows.into_iter().enumerate() {
        if at % at_once == 0 {
            let _ = write!(
                build.sql,
                "INSERT INTO {schema}.{table} ({}) VALUES ",
                columns.join(", ")
            );
        } else {
            build.sql.push_str(", ");
        }
        for (place, name) in names.iter().enumerate() {
            build.sql.push_str(if place == 0 { "(" } else { ", " });
            match row.remove(name) {
                Some(value) => build.value(value, format!("rows[{at}].{name}")),
                None => build.sql.push_str("DEFAULT"),
            }
        }
        build.sql.push(')');
        if (at + 1) % at_once == 0 || at + 1 == count {
            build.sql.push_str(returning);
            all.push(std::mem::replace(&mut build, Build::new()).done());
        }
    }
    Ok(all)
}

pub(in crate::postgres) fn update<V: Clone>(
    schema: &str,
    table: &str,
    values: BTreeMap<String, V>,
    conditions: &[Condition<'_, V>],
    returning: bool,
) -> Result<Built<V>, Invalid> {
    if values.is_empty() {
        return Err(Invalid::new("values", "is empty"));
    }
    let mut build = Build::new();
    let _ = write!(build.sql, "UPDATE {schema}.{}", quote("table", table)?);
    for (at, (name, value)) in values.into_iter().enumerate() {
        let column = quote(&format!("values: column {name:?}"), &name)?;
        let _ = write!(build.sql, "{}{column} = ", if at == 0 { " SET " } else { ", " });
        build.value(value, format!("values.{name}"));
    }
    build.required(conditions)?;
    build.sql.push_str(if returning { " RETURNING *" } else { "" });
    Ok(build.done())
}

pub(in crate::postgres) fn delete<V: Clone>(
    schema: &str,
    table: &str,
    conditions: &[Condition<'_, V>],
    returning: bool,
) -> Result<Built<V>, Invalid> {
    let mut build = Build::new();
    let _ = write!(build.sql, "DELETE FROM {schema}.{}", quote("table", table)?);
    build.required(conditions)?;
    build.sql.push_str(if returning { " RETURNING *" } else { "" });
    Ok(build.done())
}

struct Build<V> {
    sql: String,
    values: Vec<(V, String)>,
}

impl<V> Build<V> {
    fn new() -> Self {
        Self {
            sql: String::new(),
            values: Vec::new(),
        }
    }

    /// The one way in which a value gets into a statement.
    fn value(&mut self, value: V, field: String) {
        self.values.push((value, field));
        let _ = write!(self.sql, "${}", self.values.len());
    }

    fn done(self) -> Built<V> {
        Built {
            sql: self.sql,
            values: self.values,
        }
    }
}

impl<V: Clone> Build<V> {
    fn required(&mut self, conditions: &[Condition<'_, V>]) -> Result<(), Invalid> {
        if conditions.is_empty() {
            return Err(Invalid::new(
                "where",
                "is empty; a whole table is changed by Execute only",
            ));
        }
        self.conditions(conditions)
    }

    fn conditions(&mut self, conditions: &[Condition<'_, V>]) -> Result<(), Invalid> {
        for (at, condition) in conditions.iter().enumerate() {
            self.sql.push_str(if at == 0 { " WHERE " } else { " AND " });
            self.sql
                .push_str(&quote(&format!("where[{at}].column"), condition.column)?);
            let field = || format!("where[{at}].value");
            let mut values = condition.values.iter().cloned();
            let mut next = || {
                values
                    .next()
                    .ok_or_else(|| Invalid::new(field(), "is missing for this operator"))
            };
            match condition.operator {
                Operator::IsNull => self.sql.push_str(" IS NULL"),
                Operator::IsNotNull => self.sql.push_str(" IS NOT NULL"),
                Operator::Infix(operator) => {
                    let _ = write!(self.sql, " {operator} ");
                    self.value(next()?, field());
                }
                Operator::In => {
                    self.sql.push_str(" = ANY (");
                    self.value(next()?, field());
                    self.sql.push(')');
                }
                Operator::NotIn => {
                    self.sql.push_str(" <> ALL (");
                    self.value(next()?, field());
                    self.sql.push(')');
                }
                Operator::Between => {
                    self.sql.push_str(" BETWEEN ");
                    self.value(next()?, field());
                    self.sql.push_str(" AND ");
                    self.value(next()?, field());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn condition<'a>(
        column: &'a str,
        operator: &str,
        values: &[&'static str],
    ) -> Condition<'a, &'static str> {
        Condition {
            column,
            operator: Operator::parse(operator).unwrap(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn statements_are_as_they_are_meant() {
        let conditions = [
            condition("a", "", &["1"]),
            condition("b", "not in", &["2"]),
            condition("c", "between", &["3", "4"]),
            condition("d", "is  null", &[]),
        ];
        let columns = ["x\"y".to_owned(), "z".to_owned()];
        let order_by = ["a desc nulls last".to_owned(), "desc".to_owned()];
        let built = select(
            "s",
            "t",
            Selection {
                columns: &columns,
                conditions: &conditions,
                order_by: &order_by,
                limit: Some("5"),
                offset: None,
            },
        )
        .unwrap();
        assert_eq!(
            built.sql,
            "SELECT \"x\"\"y\", \"z\" FROM s.\"t\" WHERE \"a\" = $1 AND \"b\" <> ALL ($2) AND \"c\" BETWEEN $3 AND $4 AND \"d\" IS NULL ORDER BY \"a\" DESC NULLS LAST, \"desc\" LIMIT $5"
        );
        assert_eq!(built.values.len(), 5);
        let row = |pairs: &[(&str, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect()
        };
        let rows = vec![row(&[("a", "1"), ("b", "2")]), row(&[("b", "3")])];
        let built = insert("s", "t", rows, true).unwrap();
        assert_eq!(
            built[0].sql,
            "INSERT INTO s.\"t\" (\"a\", \"b\") VALUES ($1, $2), (DEFAULT, $3) RETURNING *"
        );
        let many = (0..MAX_VALUES + 1).map(|_| row(&[("a", "1")])).collect();
        assert_eq!(insert("s", "t", many, false).unwrap().len(), 2);
    }

    #[test]
    fn what_cannot_be_is_refused_by_field() {
        let bad = |result: Result<Built<&str>, Invalid>| result.unwrap_err().field;
        assert_eq!(bad(delete("s", "t", &[], false)), "where");
        assert_eq!(
            bad(delete("s", "", &[condition("a", "=", &["1"])], false)),
            "table"
        );
        assert_eq!(
            bad(delete("s", "t", &[condition("a", "between", &["1"])], false)),
            "where[0].value"
        );
        assert_eq!(
            bad(update(
                "s",
                "t",
                BTreeMap::new(),
                &[condition("a", "=", &["1"])],
                false
            )),
            "values"
        );
        for order in ["", "a b", "a; drop table t", "a asc desc", "nulls first"] {
            assert!(ordering("order_by[0]", order).is_err(), "{order}");
        }
        assert!(Operator::parse("= 1 OR 1 =").is_none());
    }

    /// What is left of a statement without its quoted names.
    fn bare(sql: &str) -> String {
        sql.split('"').step_by(2).collect()
    }

    proptest! {
        #[test]
        fn a_quoted_name_is_one_name(name in "[^\0]{1,15}") {
            let quoted = quote("table", &name).unwrap();
            let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            prop_assert!(!inside.replace("\"\"", "").contains('"'));
            prop_assert_eq!(inside.replace("\"\"", "\""), name);
        }

        #[test]
        fn values_are_never_in_the_text(
            column in "[^\0]{1,10}", table in "[^\0]{1,10}", value in "[^\0]{0,20}", operator in 0..6_usize,
        ) {
            let operator = Operator::parse(["=", "in", "not in", "like", "@>", "<>"][operator]).unwrap();
            let conditions = [Condition { column: &column, operator, values: vec![value.clone()] }];
            let values = BTreeMap::from([(column.clone(), value.clone())]);
            let built = update("s", &table, values, &conditions, true).unwrap();
            let allowed = "UPDATESTRHNGILKYuvs$123.()=<>@*& ";
            prop_assert!(bare(&built.sql).chars().all(|c| allowed.contains(c) || c.is_ascii_uppercase()), "{}", built.sql);
            prop_assert_eq!(built.values.len(), 2);
            prop_assert!(built.values.iter().all(|(bound, _)| *bound == value));
        }
    }
}
