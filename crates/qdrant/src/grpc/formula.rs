//! Formulas over scores and payload.

use qdrant_client::qdrant as pb;
use qdrant_edge::{DecayKind, Expression, Formula};

use super::{
    filter::{condition, point},
    pb::expression::Variant,
    values::{json, path, required},
};
use crate::service::Failure;

pub(super) fn formula(formula: pb::Formula) -> Result<Formula, Failure> {
    let expression = required("query.formula.expression", formula.expression)?;
    let defaults = formula.defaults.into_iter().map(|(name, value)| {
        let value = json("query.formula.defaults", value)?;
        Ok((name, value))
    });
    Ok(Formula {
        formula: self::expression(expression)?,
        defaults: defaults.collect::<Result<_, Failure>>()?,
    })
}

/// Not deeper than a message may be, which bounds the stack.
fn expression(expression: pb::Expression) -> Result<Expression, Failure> {
    let unsupported = |name: &str| Failure::Unsupported(format!("the formula expression `{name}`"));
    Ok(match required("query.formula: expression", expression.variant)? {
        Variant::Constant(value) => Expression::Constant(value),
        Variant::Variable(name) => Expression::Variable(name),
        Variant::Condition(one) => Expression::Condition(Box::new(condition(one)?)),
        Variant::GeoDistance(distance) => Expression::GeoDistance {
            origin: point("query.formula.geo_distance.origin", distance.origin)?,
            to: path("query.formula.geo_distance.to", &distance.to)?,
        },
        Variant::Datetime(text) => Expression::Datetime(text),
        Variant::DatetimeKey(key) => Expression::DatetimeKey(path("query.formula.datetime_key", &key)?),
        Variant::Mult(mult) => Expression::Mult(expressions(mult.mult)?),
        Variant::Sum(sum) => Expression::Sum(expressions(sum.sum)?),
        Variant::Div(div) => Expression::Div {
            left: boxed("div.left", div.left)?,
            right: boxed("div.right", div.right)?,
            by_zero_default: div.by_zero_default,
        },
        Variant::Neg(inner) => Expression::Neg(boxed("neg", Some(inner))?),
        Variant::Abs(inner) => Expression::Abs(boxed("abs", Some(inner))?),
        Variant::Sqrt(inner) => Expression::Sqrt(boxed("sqrt", Some(inner))?),
        Variant::Pow(pow) => Expression::Pow {
            base: boxed("pow.base", pow.base)?,
            exponent: boxed("pow.exponent", pow.exponent)?,
        },
        Variant::Exp(inner) => Expression::Exp(boxed("exp", Some(inner))?),
        Variant::Log10(inner) => Expression::Log10(boxed("log10", Some(inner))?),
        Variant::Ln(inner) => Expression::Ln(boxed("ln", Some(inner))?),
        Variant::ExpDecay(params) => decay(DecayKind::Exp, *params)?,
        Variant::GaussDecay(params) => decay(DecayKind::Gauss, *params)?,
        Variant::LinDecay(params) => decay(DecayKind::Lin, *params)?,
        Variant::Acosh(_) => return Err(unsupported("acosh")),
        Variant::Max(_) => return Err(unsupported("max")),
        Variant::Min(_) => return Err(unsupported("min")),
    })
}

fn expressions(expressions: Vec<pb::Expression>) -> Result<Vec<Expression>, Failure> {
    expressions.into_iter().map(expression).collect()
}

fn boxed(field: &str, inner: Option<Box<pb::Expression>>) -> Result<Box<Expression>, Failure> {
    let inner = required(&format!("query.formula.{field}"), inner)?;
    expression(*inner).map(Box::new)
}

fn decay(kind: DecayKind, params: pb::DecayParamsExpression) -> Result<Expression, Failure> {
    Ok(Expression::Decay {
        kind,
        x: boxed("decay.x", params.x)?,
        target: params
            .target
            .map(|target| boxed("decay.target", Some(target)))
            .transpose()?,
        midpoint: params.midpoint,
        scale: params.scale,
    })
}
