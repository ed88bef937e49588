//! What kind of statement a text is, and what it may not be. DuckDB itself keeps SQL from files, settings and the
//! network (see `open`); this reader refuses what it would still allow: other databases in memory, output on our own
//! console, the pace of checkpoints; and more than one statement, of which the client would run all but the last at once.

use super::error::{Error, invalid};

/// Of a statement, in bytes.
const MAX: usize = 1 << 20;

/// How deep parentheses may be: DuckDB's parser recurses.
const MAX_DEPTH: usize = 500;

/// Functions that change or show what is not the tenant's, or run SQL that nobody has read.
const DENIED_FUNCTIONS: &[&str] = &[
    "enable_profiling",
    "disable_profiling",
    "enable_logging",
    "disable_logging",
    "truncate_duckdb_logs",
    "duckdb_logs",
    "duckdb_logs_parsed",
    "duckdb_log_contexts",
    "write_log",
    "checkpoint",
    "force_checkpoint",
    "json_execute_serialized_sql",
    "query",
];

/// What may begin a query.
const QUERIES: &[&str] = &["select", "from", "with", "values", "table", "pivot", "unpivot"];
const DESCRIPTIONS: &[&str] = &["describe", "desc", "show", "summarize"];
const WRITES: &[&str] = &[
    "insert", "update", "delete", "merge", "truncate", "create", "alter", "drop", "comment", "analyze",
    "vacuum",
];
/// Of PRAGMA: those that only describe.
const PRAGMAS: &[&str] = &["table_info", "show_tables", "storage_info"];

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::duckdb) enum Kind {
    /// A query that could stand in parentheses.
    Query,
    /// It changes nothing otherwise.
    Read,
    Write,
}

/// A statement that may be run.
#[derive(Debug, Clone)]
pub(in crate::duckdb) struct Statement {
    /// Without the semicolon.
    pub(in crate::duckdb) text: String,
    pub(in crate::duckdb) kind: Kind,
    /// Rows come of a write.
    pub(in crate::duckdb) returning: bool,
    /// It takes away only: allowed where there is no room.
    pub(in crate::duckdb) shrinks: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// In small letters, also if it was quoted.
    Word {
        text: String,
        quoted: bool,
    },
    /// `$name`, `$1`, `?`.
    Parameter(String),
    Other(char),
    Text,
}

struct Spanned {
    token: Token,
    start: usize,
    end: usize,
}

impl Statement {
    /// Reads one statement; `field` is where it stands in the request.
    pub(in crate::duckdb) fn read(field: &'static str, sql: &str) -> Result<Self, Error> {
        let mut tokens = tokens(field, sql)?;
        while tokens.last().is_some_and(|it| it.token == Token::Other(';')) {
            tokens.pop();
        }
        let Some(last) = tokens.last() else {
            return Err(invalid(field, "is empty"));
        };
        let text = sql[..last.end].to_owned();
        if tokens.iter().any(|it| it.token == Token::Other(';')) {
            return Err(invalid(
                field,
                "holds more than one statement; ExecuteBatch takes several",
            ));
        }
        balanced(field, &tokens)?;
        for pair in tokens.windows(2) {
            if let (Token::Word { text, .. }, Token::Other('(')) = (&pair[0].token, &pair[1].token)
                && DENIED_FUNCTIONS.contains(&text.as_str())
            {
                return Err(Error::Denied(format!("{field}: SQL cannot call {text}() here")));
            }
        }
        let words: Vec<&str> = tokens
            .iter()
            .filter_map(|it| match &it.token {
                Token::Word { text, quoted: false } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        let first = match tokens
            .iter()
            .find(|it| it.token != Token::Other('('))
            .map(|it| &it.token)
        {
            Some(Token::Word { text, quoted: false }) => text.as_str(),
            _ => return Err(invalid(field, "begins with nothing that begins a statement")),
        };
        let kind = kind(field, first, &words)?;
        Ok(Self {
            text,
            kind,
            returning: kind == Kind::Write && words.contains(&"returning"),
            shrinks: matches!(first, "delete" | "drop" | "truncate" | "vacuum"),
        })
    }

    /// Reads a query that is to stand in parentheses.
    pub(in crate::duckdb) fn query(field: &'static str, sql: &str) -> Result<Self, Error> {
        let statement = Self::read(field, sql)?;
        if statement.kind != Kind::Query {
            return Err(invalid(field, "must be a SELECT"));
        }
        Ok(statement)
    }
}

/// An expression that is to stand in parentheses.
pub(in crate::duckdb) fn expression(field: &'static str, text: &str) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(invalid(field, "is empty"));
    }
    Statement::query(field, &format!("select (\n{text}\n)")).map(drop)?;
    let tokens = tokens(field, text)?;
    balanced(field, &tokens)
}

/// The query with `$FILE` replaced.
pub(in crate::duckdb) fn with_file(field: &'static str, sql: &str, file: &str) -> Result<String, Error> {
    let mut text = String::with_capacity(sql.len() + file.len());
    let mut from = 0;
    for it in tokens(field, sql)? {
        if matches!(&it.token, Token::Parameter(name) if name == "FILE") {
            text.push_str(&sql[from..it.start]);
            text.push_str(file);
            from = it.end;
        }
    }
    text.push_str(&sql[from..]);
    Ok(text)
}

fn kind(field: &'static str, first: &str, words: &[&str]) -> Result<Kind, Error> {
    let writes = || {
        // Sequences are moved by a SELECT.
        words
            .iter()
            .any(|word| matches!(*word, "insert" | "update" | "delete" | "merge" | "nextval"))
    };
    let second = words.get(1).copied().unwrap_or_default();
    let denied = |what: &str| Err(Error::Denied(format!("{field}: SQL cannot {what} here")));
    match first {
        "with" if writes() => Ok(Kind::Write),
        first if QUERIES.contains(&first) => Ok(if words.contains(&"nextval") {
            Kind::Write
        } else {
            Kind::Query
        }),
        first if DESCRIPTIONS.contains(&first) => Ok(Kind::Read),
        "update" if second == "extensions" => denied("load extensions"),
        "create" | "drop" | "alter"
            if words
                .iter()
                .take(6)
                .any(|word| matches!(*word, "secret" | "secrets")) =>
        {
            denied("keep secrets")
        }
        "alter" if second == "database" => denied("change databases"),
        first if WRITES.contains(&first) => Ok(Kind::Write),
        "explain" => {
            let mut rest = &words[1..];
            let analyze = rest.first() == Some(&"analyze");
            if analyze {
                rest = &rest[1..];
            }
            // `EXPLAIN (FORMAT json) SELECT …`
            if let Some(at) = rest.iter().position(|word| begins(word)) {
                rest = &rest[at..];
            }
            let Some(inner) = rest.first() else {
                return Err(invalid(field, "explains nothing"));
            };
            let kind = kind(field, inner, rest)?;
            Ok(
                if kind == Kind::Write && (analyze || words.contains(&"analyze")) {
                    Kind::Write
                } else {
                    Kind::Read
                },
            )
        }
        "pragma" if PRAGMAS.contains(&second) => Ok(Kind::Read),
        "pragma" | "set" | "reset" => denied("change settings"),
        "attach" | "detach" | "use" => denied("attach databases"),
        "copy" | "export" | "import" => denied("read or write files"),
        "install" | "load" => denied("load extensions"),
        "call" | "checkpoint" | "force" => denied("CALL or CHECKPOINT"),
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" => Err(invalid(
            field,
            "transactions are begun and ended by BeginTransaction, CommitTransaction and RollbackTransaction",
        )),
        "prepare" | "execute" | "deallocate" => {
            Err(invalid(field, "statements are prepared by PrepareStatement"))
        }
        other => Err(invalid(
            field,
            format_args!("no statement begins with {:?}", clip(other)),
        )),
    }
}

fn begins(word: &str) -> bool {
    QUERIES.contains(&word)
        || WRITES.contains(&word)
        || DESCRIPTIONS.contains(&word)
        || matches!(
            word,
            "attach"
                | "detach"
                | "use"
                | "copy"
                | "export"
                | "import"
                | "install"
                | "load"
                | "call"
                | "set"
                | "reset"
                | "pragma"
                | "explain"
                | "prepare"
                | "execute"
                | "checkpoint"
                | "force"
        )
}

fn clip(word: &str) -> &str {
    word.char_indices().nth(40).map_or(word, |(end, _)| &word[..end])
}

fn balanced(field: &'static str, tokens: &[Spanned]) -> Result<(), Error> {
    let mut open = Vec::new();
    for it in tokens {
        match it.token {
            Token::Other(bracket @ ('(' | '[' | '{')) => {
                open.push(bracket);
                if open.len() > MAX_DEPTH {
                    return Err(invalid(field, format_args!("nests more than {MAX_DEPTH} deep")));
                }
            }
            Token::Other(bracket @ (')' | ']' | '}')) => {
                let fits = matches!(
                    (open.pop(), bracket),
                    (Some('('), ')') | (Some('['), ']') | (Some('{'), '}')
                );
                if !fits {
                    return Err(invalid(
                        field,
                        format_args!("has a `{bracket}` that closes nothing"),
                    ));
                }
            }
            _ => {}
        }
    }
    match open.last() {
        Some(bracket) => Err(invalid(
            field,
            format_args!("has a `{bracket}` that is not closed"),
        )),
        None => Ok(()),
    }
}

/// Where the reader is not sure to read as DuckDB does, it refuses.
fn tokens(field: &'static str, sql: &str) -> Result<Vec<Spanned>, Error> {
    if sql.len() > MAX {
        return Err(invalid(
            field,
            format_args!("has {} bytes, and may have {MAX}", sql.len()),
        ));
    }
    if sql.contains('\0') {
        return Err(invalid(field, "holds a NUL character"));
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let length = if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        } else if rest.starts_with("--") {
            at += rest.find(['\n', '\r']).unwrap_or(rest.len());
            continue;
        } else if let Some(inner) = rest.strip_prefix("/*") {
            let end = inner
                .find("*/")
                .ok_or_else(|| invalid(field, "has a comment that is not closed"))?;
            if inner[..end].contains("/*") {
                return Err(invalid(field, "has a comment within a comment"));
            }
            at += end + 4;
            continue;
        } else {
            let (token, length) = token(field, rest, c)?;
            tokens.push(Spanned {
                token,
                start: at,
                end: at + length,
            });
            length
        };
        at += length;
    }
    Ok(tokens)
}

fn token(field: &'static str, rest: &str, c: char) -> Result<(Token, usize), Error> {
    match c {
        '\'' => Ok((Token::Text, quoted(field, rest, '\'', false)?)),
        '"' => {
            let length = quoted(field, rest, '"', false)?;
            let text = rest[1..length - 1].replace("\"\"", "\"").to_lowercase();
            Ok((Token::Word { text, quoted: true }, length))
        }
        '$' => dollar(field, rest),
        '?' => {
            let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
            Ok((Token::Parameter(rest[1..=digits].to_owned()), digits + 1))
        }
        c if is_word(c) => {
            let length = rest
                .find(|c: char| !(is_word(c) || c == '$'))
                .unwrap_or(rest.len());
            let text = rest[..length].to_lowercase();
            let follows = rest[length..].chars().next();
            match (text.as_str(), follows) {
                ("e", Some('\'')) => Ok((Token::Text, 1 + quoted(field, &rest[1..], '\'', true)?)),
                ("x" | "b", Some('\'')) => Ok((Token::Text, 1 + quoted(field, &rest[1..], '\'', false)?)),
                ("u", Some('&')) if rest[2..].starts_with(['\'', '"']) => Err(invalid(
                    field,
                    "has a name or text with U&, which this service does not read",
                )),
                _ => Ok((Token::Word { text, quoted: false }, length)),
            }
        }
        c => Ok((Token::Other(c), c.len_utf8())),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

/// Length of a quoted text, with its quotes.
fn quoted(field: &'static str, rest: &str, quote: char, escapes: bool) -> Result<usize, Error> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        if escapes && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at] == quote as u8 {
            if bytes.get(at + 1) == Some(&(quote as u8)) {
                at += 2;
            } else {
                return Ok(at + 1);
            }
        } else {
            at += 1;
        }
    }
    Err(invalid(field, format_args!("has a {quote} that is not closed")))
}

/// `$name`, `$1`, or a text between `$tag$`.
fn dollar(field: &'static str, rest: &str) -> Result<(Token, usize), Error> {
    let length = rest[1..].find(|c: char| !is_word(c)).unwrap_or(rest.len() - 1);
    let name = &rest[1..=length];
    if rest[1 + length..].starts_with('$') && !name.starts_with(|c: char| c.is_ascii_digit()) {
        let tag = &rest[..length + 2];
        let text = &rest[tag.len()..];
        let end = text
            .find(tag)
            .ok_or_else(|| invalid(field, format_args!("has a {tag} that is not closed")))?;
        return Ok((Token::Text, end + 2 * tag.len()));
    }
    if name.is_empty() {
        return Ok((Token::Other('$'), 1));
    }
    Ok((Token::Parameter(name.to_owned()), length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(sql: &str) -> Result<Kind, Error> {
        Statement::read("query", sql).map(|statement| statement.kind)
    }

    #[test]
    fn statements_are_told_apart() {
        for (sql, kind) in [
            ("select 1;", Kind::Query),
            ("  -- ; attach\n(SELECT 1) ; ;", Kind::Query),
            ("from t", Kind::Query),
            ("with a as (select 1) select * from a", Kind::Query),
            ("with a as (select 1) insert into t from a", Kind::Write),
            ("select nextval('s')", Kind::Write),
            ("describe t", Kind::Read),
            ("explain insert into t values (1)", Kind::Read),
            ("explain analyze insert into t values (1)", Kind::Write),
            (
                "insert into t values (';', $$;$$, $a$ ; $a$, e'\\';', \"a;b\") returning a",
                Kind::Write,
            ),
            ("create table t (a int)", Kind::Write),
            ("pragma table_info('t')", Kind::Read),
            ("select $1, ?, $name, a[1], {'a': 1}", Kind::Query),
        ] {
            assert_eq!(kind_of(sql).unwrap(), kind, "{sql}");
        }
    }

    #[test]
    fn what_is_not_the_tenants_is_refused() {
        for sql in [
            "attach ':memory:' as x",
            "detach x",
            "use x",
            "copy t to 'x'",
            "COPY t FROM 'x'",
            "export database 'x'",
            "import database 'x'",
            "install httpfs",
            "load icu",
            "set threads = 1",
            "reset threads",
            "pragma enable_profiling",
            "pragma memory_limit = '1GB'",
            "call pragma_version()",
            "checkpoint",
            "force checkpoint",
            "create secret s (type s3)",
            "create or replace persistent secret s (type s3)",
            "explain analyze copy t to 'x'",
            "explain (format json) attach 'x'",
            "update extensions",
            "select * from enable_profiling()",
            "select * from \"ENABLE_LOGGING\" /* x */ ()",
            "from query('select 1')",
            "create macro m() as table from system.main.enable_logging()",
        ] {
            assert!(
                matches!(kind_of(sql), Err(Error::Denied(_))),
                "{sql}: {:?}",
                kind_of(sql)
            );
        }
        for sql in [
            "",
            ";",
            "--",
            "select 1; select 2",
            "select 1; attach 'x'",
            "selec",
            "begin",
            "commit",
            "rollback",
            "prepare p as select 1",
            "execute p",
            "/* /* */ attach 'x' */ select 1",
            "select 'a",
            "select \"a",
            "select $$a",
            "select (1",
            "select 1)",
            "select (1]",
            "select U&\"\\0061\"",
            "/* a",
            "'a'",
            "select\0 1",
        ] {
            assert!(
                matches!(kind_of(sql), Err(Error::Invalid { .. })),
                "{sql}: {:?}",
                kind_of(sql)
            );
        }
        let deep = format!("select {}1{}", "(".repeat(501), ")".repeat(501));
        assert!(kind_of(&deep).is_err());
    }

    #[test]
    fn files_are_put_in() {
        let sql = "select '$FILE', a from $FILE join $FILE on $FILES -- $FILE";
        let with = with_file("query", sql, "f()").unwrap();
        assert_eq!(with, "select '$FILE', a from f() join f() on $FILES -- $FILE");
    }

    #[test]
    fn expressions_stay_in_their_parentheses() {
        assert!(expression("body", "a + 1 -- more").is_ok());
        for wrong in ["", "1) from t where (1", "a; b", "1 /*", "enable_logging()"] {
            assert!(expression("body", wrong).is_err(), "{wrong}");
        }
    }
}
