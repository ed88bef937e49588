use chrono::{DateTime, Utc};
use qdrant_client::qdrant as pb;
use qdrant_edge::{
    AnyVariants, Condition, DateTimeWrapper, FieldCondition, Filter, GeoBoundingBox, GeoPoint, GeoPolygon,
    GeoRadius, HasVectorCondition, Match, MatchExcept, MatchPhrase, MatchTextAny, MinShould, Nested,
    NestedCondition, Range, RangeInterface, ValuesCount, external::ordered_float::OrderedFloat,
};
use serde_json::json;

use super::{
    pb::{condition::ConditionOneOf, r#match::MatchValue},
    values::{path, point_ids, required, size},
};
use crate::service::Failure;

pub(super) fn filter(filter: Option<pb::Filter>) -> Result<Option<Filter>, Failure> {
    filter.map(one_filter).transpose()
}

fn one_filter(filter: pb::Filter) -> Result<Filter, Failure> {
    let some = |list: Vec<pb::Condition>| {
        if list.is_empty() {
            Ok(None)
        } else {
            conditions(list).map(Some)
        }
    };
    let min_should = filter.min_should.map(|min| {
        let min_count = size("filter.min_should.min_count", min.min_count)?;
        Ok::<_, Failure>(MinShould {
            conditions: conditions(min.conditions)?,
            min_count,
        })
    });
    Ok(Filter {
        should: some(filter.should)?,
        min_should: min_should.transpose()?,
        must: some(filter.must)?,
        must_not: some(filter.must_not)?,
    })
}

fn conditions(conditions: Vec<pb::Condition>) -> Result<Vec<Condition>, Failure> {
    conditions.into_iter().map(condition).collect()
}

pub(super) fn condition(condition: pb::Condition) -> Result<Condition, Failure> {
    Ok(match required("filter: condition", condition.condition_one_of)? {
        ConditionOneOf::Field(field) => Condition::Field(self::field(field)?),
        ConditionOneOf::IsEmpty(empty) => Condition::IsEmpty(path("filter.is_empty.key", &empty.key)?.into()),
        ConditionOneOf::IsNull(null) => Condition::IsNull(path("filter.is_null.key", &null.key)?.into()),
        ConditionOneOf::HasId(ids) => {
            Condition::HasId(point_ids("filter.has_id", ids.has_id)?.into_iter().collect())
        }
        ConditionOneOf::HasVector(vector) => {
            Condition::HasVector(HasVectorCondition::from(vector.has_vector))
        }
        ConditionOneOf::Filter(inner) => Condition::Filter(one_filter(inner)?),
        ConditionOneOf::Nested(nested) => {
            let key = path("filter.nested.key", &nested.key)?;
            let filter = one_filter(required("filter.nested.filter", nested.filter)?)?;
            Condition::Nested(NestedCondition::new(Nested { key, filter }))
        }
        ConditionOneOf::Slice(_) => return Err(Failure::unsupported("the filter condition `slice`")),
    })
}

fn field(condition: pb::FieldCondition) -> Result<FieldCondition, Failure> {
    let key = path("filter.key", &condition.key)?;
    let range = match (condition.range, condition.datetime_range) {
        (Some(_), Some(_)) => {
            return Err(Failure::invalid(
                "filter: a condition has both `range` and `datetime_range`",
            ));
        }
        (Some(pb::Range { lt, gt, gte, lte }), None) => {
            let [lt, gt, gte, lte] = [lt, gt, gte, lte].map(|bound| bound.map(OrderedFloat));
            Some(RangeInterface::Float(Range { lt, gt, gte, lte }))
        }
        (None, Some(pb::DatetimeRange { lt, gt, gte, lte })) => {
            let bound = |bound: Option<prost_types::Timestamp>| bound.map(timestamp).transpose();
            let (lt, gt, gte, lte) = (bound(lt)?, bound(gt)?, bound(gte)?, bound(lte)?);
            Some(RangeInterface::DateTime(Range { lt, gt, gte, lte }))
        }
        (None, None) => None,
    };
    Ok(FieldCondition {
        key,
        r#match: condition.r#match.map(match_value).transpose()?,
        range,
        geo_bounding_box: condition.geo_bounding_box.map(bounding_box).transpose()?,
        geo_radius: condition.geo_radius.map(radius).transpose()?,
        geo_polygon: condition.geo_polygon.map(polygon).transpose()?,
        values_count: condition.values_count.map(values_count).transpose()?,
        is_empty: condition.is_empty,
        is_null: condition.is_null,
    })
}

fn match_value(value: pb::Match) -> Result<Match, Failure> {
    Ok(match required("filter.match", value.match_value)? {
        MatchValue::Keyword(text) => text.into(),
        MatchValue::Integer(number) => number.into(),
        MatchValue::Boolean(flag) => flag.into(),
        MatchValue::Text(text) => Match::new_text(&text),
        MatchValue::TextAny(text_any) => Match::TextAny(MatchTextAny { text_any }),
        MatchValue::Phrase(phrase) => Match::Phrase(MatchPhrase { phrase }),
        MatchValue::Keywords(list) => list.strings.into(),
        MatchValue::Integers(list) => list.integers.into(),
        MatchValue::ExceptKeywords(list) => Match::Except(MatchExcept {
            except: AnyVariants::Strings(list.strings.into_iter().collect()),
        }),
        MatchValue::ExceptIntegers(list) => Match::Except(MatchExcept {
            except: AnyVariants::Integers(list.integers.into_iter().collect()),
        }),
        MatchValue::Prefix(_) => return Err(Failure::unsupported("the filter condition `match.prefix`")),
        MatchValue::Substring(_) => {
            return Err(Failure::unsupported("the filter condition `match.substring`"));
        }
    })
}

pub(super) fn timestamp(time: prost_types::Timestamp) -> Result<DateTimeWrapper, Failure> {
    u32::try_from(time.nanos)
        .ok()
        .and_then(|nanos| DateTime::<Utc>::from_timestamp(time.seconds, nanos))
        .map(DateTimeWrapper::from)
        .ok_or_else(|| Failure::Invalid(format!("filter.datetime_range: {time:?} is not a time")))
}

pub(super) fn point(field: &str, point: Option<pb::GeoPoint>) -> Result<GeoPoint, Failure> {
    let point = required(field, point)?;
    GeoPoint::new(point.lon, point.lat).map_err(|e| Failure::Invalid(format!("{field}: {e}")))
}

fn bounding_box(area: pb::GeoBoundingBox) -> Result<GeoBoundingBox, Failure> {
    Ok(GeoBoundingBox {
        top_left: point("filter.geo_bounding_box.top_left", area.top_left)?,
        bottom_right: point("filter.geo_bounding_box.bottom_right", area.bottom_right)?,
    })
}

fn radius(area: pb::GeoRadius) -> Result<GeoRadius, Failure> {
    let center = point("filter.geo_radius.center", area.center)?;
    Ok(GeoRadius {
        center,
        radius: OrderedFloat(f64::from(area.radius)),
    })
}

fn polygon(area: pb::GeoPolygon) -> Result<GeoPolygon, Failure> {
    // The engine does not export the type of a ring, and has its checks in the conversion from JSON.
    let ring = |ring: pb::GeoLineString| {
        let points: Vec<_> = ring
            .points
            .iter()
            .map(|p| json!({ "lon": p.lon, "lat": p.lat }))
            .collect();
        json!({ "points": points })
    };
    let exterior = ring(required("filter.geo_polygon.exterior", area.exterior)?);
    let interiors: Vec<_> = area.interiors.into_iter().map(ring).collect();
    serde_json::from_value(json!({ "exterior": exterior, "interiors": interiors }))
        .map_err(|e| Failure::Invalid(format!("filter.geo_polygon: {e}")))
}

fn values_count(count: pb::ValuesCount) -> Result<ValuesCount, Failure> {
    let bound = |bound: Option<u64>| bound.map(|bound| size("filter.values_count", bound)).transpose();
    Ok(ValuesCount {
        lt: bound(count.lt)?,
        gt: bound(count.gt)?,
        gte: bound(count.gte)?,
        lte: bound(count.lte)?,
    })
}
