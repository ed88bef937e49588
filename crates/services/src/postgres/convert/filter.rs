//! Conditions of structured calls.

use isa_proto::{
    postgres::WhereClause,
    prost_types::{Value, value::Kind},
};

use crate::postgres::service::{
    Invalid,
    builder::{Condition, Operator},
};

/// Most conditions of one call.
const MAX: usize = 1000;

pub(in crate::postgres) fn conditions(
    clauses: &[WhereClause],
) -> Result<Vec<Condition<'_, &Value>>, Invalid> {
    if clauses.len() > MAX {
        return Err(Invalid::new("where", format!("has more than {MAX} conditions")));
    }
    let clauses = clauses.iter().enumerate();
    clauses.map(|(at, clause)| condition(at, clause)).collect()
}

fn condition(at: usize, clause: &WhereClause) -> Result<Condition<'_, &Value>, Invalid> {
    let Some(operator) = Operator::parse(&clause.operator) else {
        let why = "is none of =, !=, <>, <, <=, >, >=, LIKE, NOT LIKE, ILIKE, NOT ILIKE, IN, NOT IN, BETWEEN, IS NULL, IS NOT NULL, @>, <@, &&";
        return Err(Invalid::new(format!("where[{at}].operator"), why));
    };
    let bad = |why: &str| Err(Invalid::new(format!("where[{at}].value"), why));
    let kind = clause.value.as_ref().and_then(|value| value.kind.as_ref());
    let values = match (operator, kind) {
        (Operator::IsNull | Operator::IsNotNull, _) => Vec::new(),
        (Operator::In | Operator::NotIn, Some(Kind::ListValue(_))) => clause.value.iter().collect(),
        (Operator::In | Operator::NotIn, _) => return bad("is not a list, as IN and NOT IN take"),
        (Operator::Between, Some(Kind::ListValue(list))) if list.values.len() == 2 => {
            list.values.iter().collect()
        }
        (Operator::Between, _) => return bad("is not a list of two, as BETWEEN takes"),
        (Operator::Infix(_), None | Some(Kind::NullValue(_))) => {
            return bad("is null, with which nothing compares; use IS NULL or IS NOT NULL");
        }
        (Operator::Infix(_), Some(_)) => clause.value.iter().collect(),
    };
    Ok(Condition {
        column: &clause.column,
        operator,
        values,
    })
}

#[cfg(test)]
mod tests {
    use isa_proto::prost_types::ListValue;

    use super::*;

    fn clause(operator: &str, kind: Option<Kind>) -> WhereClause {
        WhereClause {
            column: "a".into(),
            operator: operator.into(),
            value: Some(Value { kind }),
        }
    }

    #[test]
    fn each_operator_has_the_values_that_it_takes() {
        let one = Kind::NumberValue(1.0);
        let list = |count: usize| {
            let values = vec![
                Value {
                    kind: Some(one.clone())
                };
                count
            ];
            Kind::ListValue(ListValue { values })
        };
        for (clause, values) in [
            (clause("", Some(one.clone())), Some(1)),
            (clause("=", None), None),
            (clause("=", Some(Kind::NullValue(0))), None),
            (clause("in", Some(list(0))), Some(1)),
            (clause("IN", Some(one.clone())), None),
            (clause("between", Some(list(2))), Some(2)),
            (clause("between", Some(list(3))), None),
            (clause("is not null", Some(one.clone())), Some(0)),
            (clause("similar to", Some(one.clone())), None),
        ] {
            let found = conditions(std::slice::from_ref(&clause));
            assert_eq!(found.ok().map(|all| all[0].values.len()), values, "{clause:?}");
        }
    }
}
