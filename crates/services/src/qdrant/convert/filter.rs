//! Filters, whole: a condition that is not understood is refused, never left out.

use isa_proto::{prost_types::Timestamp, qdrant as pb};
use pb::{filter_condition::Condition as Given, match_condition::MatchValue as GivenMatch};
use qdrant_client::qdrant::{
    Condition, DatetimeRange, FieldCondition, Filter, GeoBoundingBox, GeoLineString, GeoPoint, GeoPolygon,
    GeoRadius, HasIdCondition, HasVectorCondition, IsEmptyCondition, IsNullCondition, Match, MinShould,
    NestedCondition, Range, RepeatedIntegers, RepeatedStrings, ValuesCount, condition::ConditionOneOf,
    r#match::MatchValue,
};

use super::{bounded, points};
use crate::qdrant::{names, service::Error};

/// Filters within filters. Each level is two messages within each other, and engines read filters by calling themselves.
const MAX_DEPTH: usize = 16;

/// Which points to heed; `None` for all.
pub(in crate::qdrant) fn filter(given: Option<pb::Filter>) -> Result<Option<Filter>, Error> {
    given.filter(|given| !says_nothing(given)).map(whole).transpose()
}

/// A filter that must not mean all points.
pub(super) fn required_filter(given: pb::Filter) -> Result<Filter, Error> {
    if says_nothing(&given) {
        return Err(Error::invalid(
            "filter",
            "has no conditions: it would mean all points",
        ));
    }
    whole(given)
}

fn says_nothing(given: &pb::Filter) -> bool {
    given.must.is_empty()
        && given.should.is_empty()
        && given.must_not.is_empty()
        && given.min_should.is_none()
}

fn whole(given: pb::Filter) -> Result<Filter, Error> {
    Conversion {
        left: super::MAX_BATCH,
    }
    .filter("filter", given, 0)
}

/// Conversion of a filter, which counts what is in it.
struct Conversion {
    /// Conditions, ids and values that there may be more.
    left: usize,
}

impl Conversion {
    fn count(&mut self, field: &str, count: usize) -> Result<(), Error> {
        self.left = self.left.checked_sub(count).ok_or_else(|| {
            let why = format!("has more than {} conditions and values in all", super::MAX_BATCH);
            Error::invalid(field.to_owned(), why)
        })?;
        Ok(())
    }

    fn filter(&mut self, field: &str, given: pb::Filter, depth: usize) -> Result<Filter, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(
                "filter",
                format!("is more than {MAX_DEPTH} levels deep"),
            ));
        }
        if says_nothing(&given) {
            return Err(Error::invalid(field.to_owned(), "has no conditions"));
        }
        let must = self.conditions(&format!("{field}.must"), given.must, depth)?;
        let should = self.conditions(&format!("{field}.should"), given.should, depth)?;
        let must_not = self.conditions(&format!("{field}.must_not"), given.must_not, depth)?;
        let min_should = match given.min_should {
            None => None,
            Some(min) => {
                let conditions =
                    self.conditions(&format!("{field}.min_should.conditions"), min.conditions, depth)?;
                if min.min_count == 0 || conditions.is_empty() {
                    let why = "needs conditions, and a min_count of 1 or more";
                    return Err(Error::invalid(format!("{field}.min_should"), why));
                }
                Some(MinShould {
                    conditions,
                    min_count: min.min_count,
                })
            }
        };
        Ok(Filter {
            should,
            must,
            must_not,
            min_should,
        })
    }

    fn conditions(
        &mut self,
        field: &str,
        given: Vec<pb::FilterCondition>,
        depth: usize,
    ) -> Result<Vec<Condition>, Error> {
        self.count(field, given.len())?;
        let mut conditions = Vec::with_capacity(given.len());
        for (i, given) in given.into_iter().enumerate() {
            let one_of = self.condition(&format!("{field}.{i}"), given, depth)?;
            conditions.push(Condition {
                condition_one_of: Some(one_of),
            });
        }
        Ok(conditions)
    }

    fn condition(
        &mut self,
        field: &str,
        given: pb::FilterCondition,
        depth: usize,
    ) -> Result<ConditionOneOf, Error> {
        let wrong = |name: &str, why: &str| Err(Error::invalid(format!("{field}.{name}"), why.to_owned()));
        let Some(condition) = given.condition else {
            return wrong("condition", "is missing");
        };
        let key = given.field;
        let has_key = !matches!(
            condition,
            Given::HasId(_) | Given::HasVector(_) | Given::Filter(_)
        );
        if has_key {
            names::check_key("field", &key).map_err(|error| within(field, error))?;
        } else if !key.is_empty() {
            return wrong("field", "is of no use with this condition; leave it empty");
        }
        let on_field = FieldCondition {
            key,
            ..Default::default()
        };
        let on_field = match condition {
            Given::HasId(list) => {
                if list.ids.is_empty() {
                    return wrong("has_id", "is empty");
                }
                self.count(field, list.ids.len())?;
                let has_id = points::ids(&format!("{field}.has_id.ids"), &list.ids)?;
                return Ok(ConditionOneOf::HasId(HasIdCondition { has_id }));
            }
            Given::HasVector(has_vector) => {
                if has_vector.len() > 255 {
                    return wrong("has_vector", "has more than 255 bytes");
                }
                return Ok(ConditionOneOf::HasVector(HasVectorCondition { has_vector }));
            }
            Given::Filter(inner) => {
                let inner = self.filter(&format!("{field}.filter"), inner, depth + 1)?;
                return Ok(ConditionOneOf::Filter(inner));
            }
            Given::Nested(inner) => {
                let inner = self.filter(&format!("{field}.nested"), inner, depth + 1)?;
                return Ok(ConditionOneOf::Nested(NestedCondition {
                    key: on_field.key,
                    filter: Some(inner),
                }));
            }
            Given::IsEmpty(is) => {
                let key = on_field.key;
                return Ok(unless(!is, ConditionOneOf::IsEmpty(IsEmptyCondition { key })));
            }
            Given::IsNull(is) => {
                let key = on_field.key;
                return Ok(unless(!is, ConditionOneOf::IsNull(IsNullCondition { key })));
            }
            Given::Match(given) => FieldCondition {
                r#match: Some(Match {
                    match_value: Some(self.match_value(&format!("{field}.match"), given)?),
                }),
                ..on_field
            },
            Given::Range(given) => FieldCondition {
                range: Some(range(&format!("{field}.range"), given)?),
                ..on_field
            },
            Given::DatetimeRange(given) => FieldCondition {
                datetime_range: Some(times(&format!("{field}.datetime_range"), given)?),
                ..on_field
            },
            Given::GeoBoundingBox(given) => FieldCondition {
                geo_bounding_box: Some(bounding_box(&format!("{field}.geo_bounding_box"), given)?),
                ..on_field
            },
            Given::GeoRadius(given) => FieldCondition {
                geo_radius: Some(circle(&format!("{field}.geo_radius"), given)?),
                ..on_field
            },
            Given::GeoPolygon(given) => FieldCondition {
                geo_polygon: Some(self.polygon(&format!("{field}.geo_polygon"), given)?),
                ..on_field
            },
            Given::ValuesCount(given) => FieldCondition {
                values_count: Some(values_count(&format!("{field}.values_count"), given)?),
                ..on_field
            },
        };
        Ok(ConditionOneOf::Field(on_field))
    }

    fn match_value(&mut self, field: &str, given: pb::MatchCondition) -> Result<MatchValue, Error> {
        let wrong = |why: &str| Err(Error::invalid(field.to_owned(), why.to_owned()));
        let Some(given) = given.match_value else {
            return wrong("is empty");
        };
        let values = match &given {
            GivenMatch::Keywords(list) | GivenMatch::ExceptKeywords(list) => Some(list.values.len()),
            GivenMatch::Integers(list) | GivenMatch::ExceptIntegers(list) => Some(list.values.len()),
            _ => None,
        };
        if values == Some(0) {
            return wrong("has no values");
        }
        self.count(field, values.unwrap_or_default())?;
        Ok(match given {
            GivenMatch::Keyword(text) => MatchValue::Keyword(text),
            GivenMatch::Integer(number) => MatchValue::Integer(number),
            GivenMatch::Boolean(is) => MatchValue::Boolean(is),
            GivenMatch::Text(text) => MatchValue::Text(text),
            GivenMatch::TextAny(text) => MatchValue::TextAny(text),
            GivenMatch::Phrase(text) => MatchValue::Phrase(text),
            GivenMatch::Keywords(list) => MatchValue::Keywords(strings(list)),
            GivenMatch::ExceptKeywords(list) => MatchValue::ExceptKeywords(strings(list)),
            GivenMatch::Integers(list) => MatchValue::Integers(integers(list)),
            GivenMatch::ExceptIntegers(list) => MatchValue::ExceptIntegers(integers(list)),
        })
    }

    fn polygon(&mut self, field: &str, given: pb::GeoPolygonCondition) -> Result<GeoPolygon, Error> {
        let mut ring = |field: String, given: pb::GeoRing| {
            self.count(&field, given.points.len())?;
            let mut points = Vec::with_capacity(given.points.len());
            for given in given.points {
                points.push(point(&field, Some(given))?);
            }
            if points.len() < 4 || points.first() != points.last() {
                return Err(Error::invalid(
                    field,
                    "must have 4 points or more, the last as the first",
                ));
            }
            Ok(GeoLineString { points })
        };
        let exterior = given
            .exterior
            .ok_or_else(|| Error::invalid(format!("{field}.exterior"), "is missing"))?;
        let exterior = ring(format!("{field}.exterior"), exterior)?;
        bounded(field, given.interiors.len())?;
        let interiors = given.interiors.into_iter().enumerate();
        Ok(GeoPolygon {
            exterior: Some(exterior),
            interiors: interiors
                .map(|(i, given)| ring(format!("{field}.interiors.{i}"), given))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// An error of a field within another.
fn within(field: &str, error: Error) -> Error {
    match error {
        Error::Invalid { field: inner, why } => Error::invalid(format!("{field}.{inner}"), why),
        other => other,
    }
}

/// The condition, or that it does not hold.
fn unless(not: bool, condition: ConditionOneOf) -> ConditionOneOf {
    if !not {
        return condition;
    }
    ConditionOneOf::Filter(Filter {
        must_not: vec![Condition {
            condition_one_of: Some(condition),
        }],
        ..Default::default()
    })
}

fn strings(list: pb::KeywordList) -> RepeatedStrings {
    RepeatedStrings { strings: list.values }
}

fn integers(list: pb::IntegerList) -> RepeatedIntegers {
    RepeatedIntegers {
        integers: list.values,
    }
}

fn range(field: &str, given: pb::RangeCondition) -> Result<Range, Error> {
    let pb::RangeCondition { gt, gte, lt, lte } = given;
    let ends = [gt, gte, lt, lte];
    if ends.iter().flatten().any(|end| end.is_nan()) {
        return Err(Error::invalid(
            field.to_owned(),
            "has an end that is not a number",
        ));
    }
    has_an_end(field, ends.iter().any(Option::is_some))?;
    Ok(Range { lt, gt, gte, lte })
}

fn times(field: &str, given: pb::DatetimeRangeCondition) -> Result<DatetimeRange, Error> {
    let pb::DatetimeRangeCondition { gt, gte, lt, lte } = given;
    let ends = [&gt, &gte, &lt, &lte];
    has_an_end(field, ends.iter().any(|end| end.is_some()))?;
    // The years 1 to 9999, as for every Timestamp.
    let is_time = |time: &Timestamp| {
        (-62_135_596_800..=253_402_300_799).contains(&time.seconds)
            && (0..1_000_000_000).contains(&time.nanos)
    };
    if !ends.into_iter().flatten().all(is_time) {
        return Err(Error::invalid(field.to_owned(), "has an end that is no time"));
    }
    Ok(DatetimeRange { lt, gt, gte, lte })
}

fn values_count(field: &str, given: pb::ValuesCountCondition) -> Result<ValuesCount, Error> {
    let pb::ValuesCountCondition { lt, lte, gt, gte } = given;
    has_an_end(field, [lt, lte, gt, gte].iter().any(Option::is_some))?;
    Ok(ValuesCount { lt, gt, gte, lte })
}

fn has_an_end(field: &str, has: bool) -> Result<(), Error> {
    if has {
        return Ok(());
    }
    Err(Error::invalid(
        field.to_owned(),
        "needs one of gt, gte, lt and lte",
    ))
}

fn point(field: &str, given: Option<pb::GeoPoint>) -> Result<GeoPoint, Error> {
    let wrong = |why: &'static str| Err(Error::invalid(field.to_owned(), why));
    let Some(pb::GeoPoint { lat, lon }) = given else {
        return wrong("is missing");
    };
    if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lon) {
        return wrong("is not on earth: lat is -90 to 90, lon -180 to 180");
    }
    Ok(GeoPoint { lon, lat })
}

fn bounding_box(field: &str, given: pb::GeoBoundingBoxCondition) -> Result<GeoBoundingBox, Error> {
    let top_left = point(&format!("{field}.top_left"), given.top_left)?;
    let bottom_right = point(&format!("{field}.bottom_right"), given.bottom_right)?;
    if top_left.lat < bottom_right.lat {
        return Err(Error::invalid(field.to_owned(), "has its top below its bottom"));
    }
    Ok(GeoBoundingBox {
        top_left: Some(top_left),
        bottom_right: Some(bottom_right),
    })
}

fn circle(field: &str, given: pb::GeoRadiusCondition) -> Result<GeoRadius, Error> {
    let radius = given.radius_meters as f32;
    if !radius.is_finite() || radius < 0.0 {
        let why = "must be a number of meters, 0 or more";
        return Err(Error::invalid(format!("{field}.radius_meters"), why));
    }
    Ok(GeoRadius {
        center: Some(point(&format!("{field}.center"), given.center)?),
        radius,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(field: &str, condition: Given) -> pb::FilterCondition {
        pb::FilterCondition {
            field: field.to_owned(),
            condition: Some(condition),
        }
    }

    fn must(conditions: Vec<pb::FilterCondition>) -> pb::Filter {
        pb::Filter {
            must: conditions,
            ..Default::default()
        }
    }

    fn keyword(text: &str) -> Given {
        Given::Match(pb::MatchCondition {
            match_value: Some(GivenMatch::Keyword(text.to_owned())),
        })
    }

    #[test]
    fn filters_are_converted_whole() {
        let given = pb::Filter {
            must: vec![condition("a", keyword("x"))],
            should: vec![condition("b", Given::IsNull(false))],
            must_not: vec![condition(
                "",
                Given::Filter(must(vec![condition("c", keyword("y"))])),
            )],
            min_should: Some(pb::MinShould {
                conditions: vec![condition("d", Given::IsEmpty(true))],
                min_count: 1,
            }),
        };
        let filter = filter(Some(given)).unwrap().unwrap();
        assert_eq!(
            (filter.must.len(), filter.should.len(), filter.must_not.len()),
            (1, 1, 1)
        );
        assert_eq!(filter.min_should.unwrap().min_count, 1);
        assert!(matches!(
            &filter.should[0].condition_one_of,
            Some(ConditionOneOf::Filter(inner)) if inner.must_not.len() == 1
        ));
    }

    #[test]
    fn what_says_nothing_is_refused() {
        assert_eq!(filter(Some(pb::Filter::default())).unwrap(), None);
        let nothing = [
            pb::FilterCondition {
                field: "a".into(),
                condition: None,
            },
            condition("", keyword("x")),
            condition("a", Given::Match(pb::MatchCondition::default())),
            condition("a", Given::Range(pb::RangeCondition::default())),
            condition("a", Given::DatetimeRange(pb::DatetimeRangeCondition::default())),
            condition("a", Given::ValuesCount(pb::ValuesCountCondition::default())),
            condition("a", Given::GeoBoundingBox(pb::GeoBoundingBoxCondition::default())),
            condition("a", Given::GeoRadius(pb::GeoRadiusCondition::default())),
            condition("a", Given::GeoPolygon(pb::GeoPolygonCondition::default())),
            condition("a", Given::Nested(pb::Filter::default())),
            condition("", Given::HasId(pb::PointIdList::default())),
            condition("a", Given::HasVector("v".into())),
        ];
        for given in nothing {
            let error = filter(Some(must(vec![given.clone()]))).unwrap_err().to_string();
            assert!(error.starts_with("filter.must.0"), "{given:?}: {error}");
        }
    }

    #[test]
    fn filters_are_bounded() {
        let deep = (0..=MAX_DEPTH).fold(must(vec![condition("a", keyword("x"))]), |inner, _| {
            must(vec![condition("", Given::Filter(inner))])
        });
        assert!(filter(Some(deep)).is_err());
        let wide = must(vec![condition("a", keyword("x")); super::super::MAX_BATCH + 1]);
        assert!(filter(Some(wide)).is_err());
        let wide = must(vec![condition("a", keyword("x")); super::super::MAX_BATCH]);
        assert!(filter(Some(wide)).is_ok());
    }
}
