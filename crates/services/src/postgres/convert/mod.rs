//! `google.protobuf.Value` to PostgreSQL and back, with nothing lost in silence.
//!
//! To PostgreSQL. Every parameter goes as text, which PostgreSQL reads as the type that it inferred for it; so what
//! it takes in a literal, it takes here.
//!
//! | Value | by the parameter's type |
//! |---|---|
//! | null, or of no kind | NULL |
//! | number | integers: must be whole and in range. json: the number. Else its shortest decimal text |
//! | string | as it is: exact numbers, times, uuid, `\x` bytea, JSON text, `{…}` arrays, enums, ranges, … |
//! | bool | boolean and json |
//! | list | arrays (nested for each dimension), `vector` and its kin, json; an array of json has its elements as json |
//! | struct | json |
//!
//! Everything else is INVALID_ARGUMENT that names `params[2]`, or the field of a structured call.
//!
//! From PostgreSQL.
//!
//! | type | Value |
//! |---|---|
//! | NULL | null |
//! | boolean | bool |
//! | int2, int4, oid, xid, cid | number |
//! | int8 | number up to 2^53 either way, beyond it decimal text |
//! | float4, float8 | number (of float4 the shortest that is the same float4); `NaN`, `Infinity`, `-Infinity` as text |
//! | numeric | decimal text with its scale; `NaN`, `Infinity`, `-Infinity` |
//! | text, varchar, char(n), name, xml, citext, enums, uuid, inet, cidr, `"char"` | text |
//! | bytea | `\x` and hexadecimal digits |
//! | date, time, timestamp | `2026-01-31`, `13:05:00.5`, `2026-01-31T13:05:00.5`; before our era with ` BC` |
//! | timestamptz | `2026-01-31T13:05:00.500000Z`: in UTC, with microseconds |
//! | interval | ISO 8601: `P1Y2M3DT4H5M6.5S` |
//! | infinite times | `Infinity`, `-Infinity` |
//! | json, jsonb | the value; a number that is not the same as a double is text; what lies deeper than 30 levels is JSON text, as readers of protobuf stop at 100 messages within each other |
//! | arrays | list, nested for each dimension, of what the elements are; bounds other than 1 are lost |
//! | vector, halfvec | list of numbers |
//! | domains | as the type below |
//! | all others (money, ranges, composites, bit, hstore, sparsevec, …) | PostgreSQL's own text, by a cast that is added to the statement. Where that cannot be (a few forms of WITH): INVALID_ARGUMENT that names the column and says `::text` |

mod decode;
mod encode;
mod filter;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod json;
mod time;

pub(super) use decode::{Rows, list};
pub(super) use encode::{Fields, Owned, Params};
pub(super) use filter::conditions;
