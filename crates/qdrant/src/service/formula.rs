//! What a formula must satisfy before the engine evaluates it for each point.

use qdrant_edge::{Expression, Filter, Formula};

use super::{Failure, check};

/// Operations of one formula, each done for each candidate.
const MAX_EXPRESSIONS: usize = 1_000;
const MAX_DEFAULTS: usize = 1_000;

pub(super) fn check(formula: &Formula) -> Result<(), Failure> {
    if formula.defaults.len() > MAX_DEFAULTS {
        return Err(Failure::Invalid(format!(
            "query.formula: more than {MAX_DEFAULTS} defaults"
        )));
    }
    let mut open = vec![&formula.formula];
    let mut count = 0;
    while let Some(expression) = open.pop() {
        count += 1;
        if count > MAX_EXPRESSIONS {
            return Err(Failure::Invalid(format!(
                "query.formula: more than {MAX_EXPRESSIONS} expressions"
            )));
        }
        match expression {
            Expression::Constant(value) => finite("constant", Some(*value))?,
            Expression::Condition(condition) => {
                check::filter(Some(&Filter::new_must(condition.as_ref().clone())))?;
            }
            Expression::Variable(_)
            | Expression::GeoDistance { .. }
            | Expression::Datetime(_)
            | Expression::DatetimeKey(_) => {}
            Expression::Mult(inner) | Expression::Sum(inner) => open.extend(inner),
            Expression::Neg(inner)
            | Expression::Sqrt(inner)
            | Expression::Exp(inner)
            | Expression::Log10(inner)
            | Expression::Ln(inner)
            | Expression::Abs(inner) => open.push(inner),
            Expression::Div {
                left,
                right,
                by_zero_default,
            } => {
                finite("div.by_zero_default", *by_zero_default)?;
                open.extend([left.as_ref(), right.as_ref()]);
            }
            Expression::Pow { base, exponent } => open.extend([base.as_ref(), exponent.as_ref()]),
            Expression::Decay {
                x,
                target,
                midpoint,
                scale,
                ..
            } => {
                finite("decay.midpoint", *midpoint)?;
                finite("decay.scale", *scale)?;
                open.push(x);
                open.extend(target.as_deref());
            }
        }
    }
    Ok(())
}

fn finite(what: &str, value: Option<f32>) -> Result<(), Failure> {
    match value {
        Some(value) if !value.is_finite() => Err(Failure::Invalid(format!(
            "query.formula.{what}: {value} is not a finite number"
        ))),
        _ => Ok(()),
    }
}
