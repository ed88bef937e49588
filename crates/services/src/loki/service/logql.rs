//! LogQL of what we ask ourselves: names are checked before they come here, and values always quoted. A caller's own LogQL
//! goes to Loki as it is, in a request of the caller's tenant; nothing is ever pasted into or around it.

use std::fmt::{self, Write};

use crate::loki::names::{EVERY_STREAM, Labels};

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Matches,
    MatchesNot,
}

impl Comparison {
    const ALL: [Self; 4] = [Self::Equal, Self::NotEqual, Self::Matches, Self::MatchesNot];

    const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Matcher {
    name: String,
    comparison: Comparison,
    value: String,
}

/// Which streams: `{service="api",level!=""}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Matcher>);

impl Selector {
    /// Every stream of the tenant.
    pub(super) fn all() -> Self {
        let (name, value) = EVERY_STREAM;
        Self(Vec::new()).and(name, Comparison::Equal, value)
    }

    /// Streams that have these labels, and maybe others.
    pub(super) fn with(labels: &Labels) -> Self {
        let mut selector = Self::all();
        for (name, value) in labels {
            selector = selector.and(name, Comparison::Equal, value);
        }
        selector
    }

    /// `name` must be one.
    pub(super) fn and(mut self, name: &str, comparison: Comparison, value: &str) -> Self {
        self.0.push(Matcher {
            name: name.to_owned(),
            comparison,
            value: value.to_owned(),
        });
        self
    }

    /// A caller's query that is a selector and nothing else, read so that it can be built anew. `None` if it is anything
    /// else, or nothing that we understand: then Loki says what it is.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let mut rest = query.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let mut matchers = Vec::new();
        while !rest.is_empty() {
            let (matcher, after) = matcher(rest)?;
            matchers.push(matcher);
            rest = match after.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if after.is_empty() => after,
                None => return None,
            };
        }
        (!matchers.is_empty()).then_some(Self(matchers))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        for (n, matcher) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_char(',')?;
            }
            write!(f, "{}{}", matcher.name, matcher.comparison.sign())?;
            quote(f, &matcher.value)?;
        }
        f.write_char('}')
    }
}

/// One matcher, and what follows it.
fn matcher(text: &str) -> Option<(Matcher, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !is_part(c))?;
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = rest.trim_start();
    // `=~` before `=`.
    let comparison = Comparison::ALL
        .into_iter()
        .rev()
        .find(|comparison| rest.starts_with(comparison.sign()))?;
    let rest = rest[comparison.sign().len()..].trim_start();
    let (value, rest) = unquoted(rest)?;
    let matcher = Matcher {
        name: name.to_owned(),
        comparison,
        value,
    };
    Some((matcher, rest.trim_start()))
}

/// A text in `"` or backquotes, and what follows it. `None` also for escapes other than the common ones.
fn unquoted(text: &str) -> Option<(String, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (value, rest) = raw.split_once('`')?;
        return Some((value.to_owned(), rest));
    }
    let mut value = String::new();
    let mut chars = text.strip_prefix('"')?.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            // After the first quote.
            '"' => return Some((value, &text[at + 2..])),
            '\n' => return None,
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '\\' => '\\',
                '"' => '"',
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

/// A text as Loki, which is written in Go, reads it back.
fn quote(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let escaped = match c {
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            _ => None,
        };
        // A byte order mark is none inside a text to every reader.
        let is_control = escaped.is_none() && (c.is_control() || c == '\u{feff}');
        if escaped.is_some() || is_control {
            out.write_str(&text[plain..at])?;
            plain = at + c.len_utf8();
        }
        if let Some(escaped) = escaped {
            out.write_str(escaped)?;
        } else if is_control {
            write!(out, "\\u{:04x}", u32::from(c))?;
        }
    }
    out.write_str(&text[plain..])?;
    out.write_char('"')
}

/// The labels of a stream as an entry is pushed with them.
pub(super) fn stream(labels: &Labels) -> String {
    let length: usize = labels
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    let mut text = String::with_capacity(length + 16);
    // Writing into a text does not fail.
    let _ = write_stream(&mut text, labels);
    text
}

fn write_stream(out: &mut String, labels: &Labels) -> fmt::Result {
    let (name, value) = EVERY_STREAM;
    write!(out, "{{{name}=\"{value}\"")?;
    for (name, value) in labels {
        write!(out, ",{name}=")?;
        quote(out, value)?;
    }
    out.write_char('}')
}

/// A figure of each stream that a selector matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Entries,
    Bytes,
    BytesPerSecond,
    /// Of the first and of the last entry, in milliseconds since 1970.
    First,
    Last,
}

/// A figure over the `range` nanoseconds before the time of the query, rounded up to milliseconds, which are what LogQL has:
/// added up (or the least, or the most) by labels, all together if there are none. Names of labels must be such.
pub(super) fn figure(figure: Figure, selector: &Selector, range: i64, by: &[&str]) -> String {
    let (add, function) = match figure {
        Figure::Entries => ("sum", "count_over_time"),
        Figure::Bytes => ("sum", "bytes_over_time"),
        Figure::BytesPerSecond => ("sum", "bytes_rate"),
        Figure::First => ("min", "min_over_time"),
        Figure::Last => ("max", "max_over_time"),
    };
    let time = match figure {
        Figure::First | Figure::Last => {
            " | label_format __at__=`{{ __timestamp__ | unixEpochMillis }}` | unwrap __at__"
        }
        Figure::Entries | Figure::Bytes | Figure::BytesPerSecond => "",
    };
    let by = by.join(",");
    let range = range.max(1).unsigned_abs().div_ceil(1_000_000);
    format!("{add} by ({by}) ({function}({selector}{time} [{range}ms]))")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn values_cannot_leave_their_quotes() {
        for (value, quoted) in [
            ("api", r#""api""#),
            ("\"} or {a=\"b", r#""\"} or {a=\"b""#),
            ("\\\"", r#""\\\"""#),
            ("a\nb\tc\rd", r#""a\nb\tc\rd""#),
            ("\0\u{7f}\u{85}\u{feff}", r#""\u0000\u007f\u0085\ufeff""#),
            ("größe 🦀", r#""größe 🦀""#),
            ("`", r#""`""#),
        ] {
            let labels = labels(&[("a", value)]);
            assert_eq!(stream(&labels), format!("{{__isa__=\"1\",a={quoted}}}"));
            assert_eq!(Selector::with(&labels).to_string(), stream(&labels));
        }
    }

    #[test]
    fn a_selector_is_read_and_built_anew() {
        for (given, built) in [
            (r#"{a="b"}"#, r#"{a="b"}"#),
            (
                " { a = \"b\" , c=~`x|\\d+`,d != \"\" , e!~\".*\" , } ",
                r#"{a="b",c=~"x|\\d+",d!="",e!~".*"}"#,
            ),
            (r#"{a="\"}\\"}"#, r#"{a="\"}\\"}"#),
        ] {
            assert_eq!(Selector::parse(given).unwrap().to_string(), built);
        }
        for other in [
            "",
            "{}",
            "{a}",
            "{a=b}",
            "{a=\"b}",
            "{a==\"b\"}",
            "{9a=\"b\"}",
            "{a=\"b\"} |= \"x\"",
            "{a=\"b\"} |= \"{}\"",
            "{a=\"b\"} or {c=\"d\"}",
            "rate({a=\"b\"}[5m])",
            "{a=\"b\" c=\"d\"}",
            "{a=\"\\x41\"}",
            "# x\n{a=\"b\"}",
        ] {
            assert_eq!(Selector::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn figures_are_built() {
        let selector = Selector::with(&labels(&[("a", "b")]));
        assert_eq!(
            figure(Figure::Entries, &selector, 5_000_000, &["level"]),
            r#"sum by (level) (count_over_time({__isa__="1",a="b"} [5ms]))"#
        );
        assert_eq!(
            figure(Figure::Last, &Selector::all(), 1, &[]),
            r#"max by () (max_over_time({__isa__="1"} | label_format __at__=`{{ __timestamp__ | unixEpochMillis }}` | unwrap __at__ [1ms]))"#
        );
    }
}
