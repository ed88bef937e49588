//! What a tenant's statement is: enough of SQL's lexical rules to say what a call may not do, and what it leaves behind.
//!
//! Nothing here keeps tenants apart: PostgreSQL's own privileges do. It is for clear refusals, and for sessions that
//! stay clean.

/// Most bytes of one statement.
pub(in crate::postgres) const MAX_SQL: usize = 1 << 20;

/// What is known of a statement by its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Plan {
    /// The command's name as PostgreSQL reports it, without its count: `INSERT`, `CREATE TABLE`.
    pub(in crate::postgres) tag: String,
    /// Leaves nothing in the session: needs no tidying after it.
    pub(in crate::postgres) plain: bool,
    /// Reads alone, so that the rest of its rows may be dropped.
    pub(in crate::postgres) reads: bool,
    /// May stand in `WITH name AS (…)`.
    pub(in crate::postgres) nests: Nests,
    /// Where it ends, without a last `;`.
    pub(in crate::postgres) end: usize,
    /// Only within a transaction that another call opened: SAVEPOINT and its kin.
    pub(in crate::postgres) savepoint: bool,
}

/// Where a statement may stand as a part of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum Nests {
    No,
    /// `FROM (…)`
    From,
    /// `WITH name AS (…)`
    With,
}

/// Why a statement is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) enum Refusal {
    Invalid(&'static str),
    Denied(&'static str),
    Precondition(&'static str),
}

const TRANSACTION: Refusal = Refusal::Precondition(
    "opens or ends a transaction, which lives longer than a call; use BeginTransaction, CommitTransaction and RollbackTransaction, or ExecuteInTransaction",
);
const ROLES: Refusal = Refusal::Denied("changes who asks, or accounts; a tenant has one role, its own");
const COPY: Refusal = Refusal::Denied(
    "COPY reads and writes files and streams, which this service does not; use InsertInto, or QueryStream",
);
const NOTIFY: Refusal =
    Refusal::Precondition("notifications reach nobody through this service; use the NATS service");
const PREPARED: Refusal = Refusal::Precondition(
    "a session ends with the call; statements are prepared by the service itself: send SQL and its params",
);

/// Words of statements that may leave a table in the session, and of calls that change its settings.
const TABLES: [&str; 3] = ["INTO", "TEMP", "TEMPORARY"];
const SETTINGS: [&str; 2] = ["SET_CONFIG", "SETSEED"];

/// What is seen anywhere in a statement.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    table: bool,
    setting: bool,
    write: bool,
}

/// Reads a statement's words.
pub(in crate::postgres) fn plan(sql: &str) -> Result<Plan, Refusal> {
    if sql.len() > MAX_SQL {
        return Err(Refusal::Invalid("is longer than 1 MiB"));
    }
    if sql.contains('\0') {
        return Err(Refusal::Invalid("has a NUL character"));
    }
    let mut words = Words::new(sql);
    // The first few decide, the others may only mark it.
    let mut first: Vec<String> = Vec::new();
    let mut marks = Marks::default();
    while let Some(token) = words.next_token() {
        match token {
            Token::Word(word) => {
                let word = word.to_ascii_uppercase();
                marks.table |= TABLES.contains(&word.as_str());
                marks.setting |= SETTINGS.contains(&word.as_str());
                marks.write |= ["INSERT", "UPDATE", "DELETE", "MERGE"].contains(&word.as_str());
                if first.len() < 6 {
                    first.push(word);
                }
            }
            Token::Semicolon(at) => {
                if words.next_token().is_some() {
                    return Err(Refusal::Invalid(
                        "has more than one statement; send each in a call of its own, or use ExecuteBatch or ExecuteInTransaction",
                    ));
                }
                return describe(&first, marks, at);
            }
            Token::Other => {}
        }
    }
    describe(&first, marks, sql.len())
}

fn describe(first: &[String], marks: Marks, end: usize) -> Result<Plan, Refusal> {
    let words: Vec<&str> = first.iter().map(String::as_str).collect();
    let Some(verb) = words.first() else {
        return Err(Refusal::Invalid("is empty"));
    };
    let savepoint = match words.as_slice() {
        ["BEGIN" | "START" | "COMMIT" | "END" | "ABORT", ..] | ["PREPARE", "TRANSACTION", ..] => {
            return Err(TRANSACTION);
        }
        ["ROLLBACK", "TO", ..] | ["ROLLBACK", "WORK" | "TRANSACTION", "TO", ..] => true,
        ["ROLLBACK", ..] => return Err(TRANSACTION),
        ["SAVEPOINT" | "RELEASE", ..] => true,
        ["SET" | "RESET", "ROLE", ..]
        | ["SET", "SESSION" | "LOCAL", "ROLE", ..]
        | ["SET" | "RESET", "SESSION", "AUTHORIZATION", ..]
        | ["SET", "SESSION" | "LOCAL", "SESSION", "AUTHORIZATION", ..]
        | [
            "CREATE" | "ALTER" | "DROP",
            "ROLE" | "USER" | "GROUP" | "DATABASE" | "TABLESPACE" | "SYSTEM",
            ..,
        ] => return Err(ROLES),
        ["COPY", ..] => return Err(COPY),
        ["LISTEN" | "UNLISTEN" | "NOTIFY", ..] => return Err(NOTIFY),
        ["PREPARE" | "EXECUTE" | "DEALLOCATE" | "DISCARD", ..] => return Err(PREPARED),
        _ => false,
    };
    let reads = match *verb {
        "SELECT" | "VALUES" | "TABLE" | "SHOW" | "WITH" => !marks.write,
        _ => false,
    };
    let changes_rows = ["INSERT", "UPDATE", "DELETE", "MERGE"].contains(verb);
    let plain = match *verb {
        "SELECT" => !marks.setting && !marks.table,
        // INTO is also of an INSERT in it.
        "WITH" => !marks.setting && (!marks.table || marks.write),
        "VALUES" | "TABLE" | "SHOW" | "EXPLAIN" => !marks.setting,
        _ => changes_rows && !marks.setting,
    };
    let nests = match *verb {
        "SELECT" | "VALUES" | "TABLE" => Nests::With,
        "WITH" if !marks.write => Nests::From,
        _ if changes_rows => Nests::With,
        _ => Nests::No,
    };
    Ok(Plan {
        tag: tag(&words),
        plain: plain || savepoint,
        reads,
        nests,
        end,
        savepoint,
    })
}

/// The command's name: one word, or two and the kind of thing.
fn tag(words: &[&str]) -> String {
    let Some(verb) = words.first() else {
        return String::new();
    };
    match *verb {
        "WITH" | "VALUES" | "TABLE" => "SELECT".into(),
        "CREATE" | "ALTER" | "DROP" => {
            let between = [
                "OR",
                "REPLACE",
                "TEMP",
                "TEMPORARY",
                "UNLOGGED",
                "UNIQUE",
                "RECURSIVE",
                "GLOBAL",
                "LOCAL",
                "TRUSTED",
                "CONSTRAINT",
            ];
            let mut things = words[1..].iter().filter(|word| !between.contains(word));
            match (things.next(), things.next()) {
                (Some(&"MATERIALIZED"), _) => format!("{verb} MATERIALIZED VIEW"),
                (Some(&"FOREIGN"), Some(second)) => format!("{verb} FOREIGN {second}"),
                (Some(thing), _) => format!("{verb} {thing}"),
                _ => (*verb).into(),
            }
        }
        "TRUNCATE" => "TRUNCATE TABLE".into(),
        "LOCK" => "LOCK TABLE".into(),
        "REFRESH" => "REFRESH MATERIALIZED VIEW".into(),
        _ => (*verb).into(),
    }
}

enum Token<'a> {
    Word(&'a str),
    Semicolon(usize),
    /// A literal, a number, an operator.
    Other,
}

/// The tokens of a text, by PostgreSQL's rules for quotes and comments.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn next_token(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let start = self.at;
        let first = *self.rest().first()?;
        match first {
            b';' => {
                self.at += 1;
                return Some(Token::Semicolon(start));
            }
            b'\'' => self.quoted(b'\'', false),
            b'"' => {
                self.quoted(b'"', false);
                // May be called like any other: `"set_config"(…)`.
                let inside = self.text.get(start + 1..self.at.saturating_sub(1).max(start + 1));
                return Some(Token::Word(inside.unwrap_or_default()));
            }
            b'$' => self.dollar(),
            _ if is_word_start(first) => {
                let length = self
                    .rest()
                    .iter()
                    .position(|byte| !is_word_part(*byte))
                    .unwrap_or_else(|| self.rest().len());
                self.at += length;
                let word = &self.text[start..self.at];
                if self.rest().first() == Some(&b'\'') && word.len() == 1 {
                    // E'…' has backslashes; B'…', X'…', N'…' have none.
                    self.quoted(b'\'', word.eq_ignore_ascii_case("e"));
                    return Some(Token::Other);
                }
                return Some(Token::Word(word));
            }
            _ => self.at += 1,
        }
        Some(Token::Other)
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b);
            self.at += blank.count();
            let rest = self.rest();
            if rest.starts_with(b"--") {
                self.at += rest
                    .iter()
                    .position(|byte| b"\n\r".contains(byte))
                    .unwrap_or(rest.len());
            } else if rest.starts_with(b"/*") {
                self.comment();
            } else {
                return;
            }
        }
    }

    /// Comments nest.
    fn comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return;
            } else if rest.starts_with(b"/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with(b"*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.at += 1;
            }
        }
    }

    /// A doubled quote stands for one.
    fn quoted(&mut self, quote: u8, backslashes: bool) {
        self.at += 1;
        while let Some(byte) = self.rest().first() {
            self.at += 1;
            if *byte == b'\\' && backslashes {
                self.at = (self.at + 1).min(self.text.len());
            } else if *byte == quote {
                if self.rest().first() != Some(&quote) {
                    return;
                }
                self.at += 1;
            }
        }
    }

    /// `$1`, or `$tag$ … $tag$`.
    fn dollar(&mut self) {
        let rest = self.rest();
        let length = rest[1..]
            .iter()
            .position(|byte| !is_word_part(*byte) || *byte == b'$');
        let opens =
            length.filter(|length| rest[1 + length] == b'$' && !rest.get(1).is_some_and(u8::is_ascii_digit));
        let Some(length) = opens else {
            self.at += 1;
            return;
        };
        let tag = &rest[..length + 2];
        let inside = &rest[tag.len()..];
        let end = find(inside, tag).map_or(rest.len(), |at| tag.len() + at + tag.len());
        self.at += end;
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == b'$') {
        if text[from + at..].starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

const fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statements_are_told_apart() {
        for (sql, tag, plain, reads) in [
            ("select 1", "SELECT", true, true),
            ("-- x\n/* /* ; */ */ SELECT ';' ; ", "SELECT", true, true),
            (
                "with a as (delete from t returning *) select * from a",
                "SELECT",
                true,
                false,
            ),
            ("select * into temp x from y", "SELECT", false, true),
            ("select set_config('a.b', 'c', false)", "SELECT", false, true),
            ("select \"set_config\"('a.b', 'c', false)", "SELECT", false, true),
            (
                "insert into t values ($1, $$;$$, $a$;$$;$a$)",
                "INSERT",
                true,
                false,
            ),
            (
                "create or replace function f() returns int as 'select 1;' language sql",
                "CREATE FUNCTION",
                false,
                false,
            ),
            ("create unique index i on t (a)", "CREATE INDEX", false, false),
            (
                "create materialized view v as select 1",
                "CREATE MATERIALIZED VIEW",
                false,
                false,
            ),
            ("SET work_mem = '1MB'", "SET", false, false),
            ("select E'\\';' as a", "SELECT", true, true),
        ] {
            let plan = plan(sql).unwrap_or_else(|why| panic!("{sql}: {why:?}"));
            assert_eq!(
                (plan.tag.as_str(), plan.plain, plan.reads),
                (tag, plain, reads),
                "{sql}"
            );
        }
        assert_eq!(plan("select 1 ; -- done").unwrap().end, 9);
    }

    #[test]
    fn what_is_not_run_is_refused_by_its_kind() {
        for (sql, expected) in [
            ("", Refusal::Invalid("is empty")),
            (";", Refusal::Invalid("is empty")),
            ("begin", TRANSACTION),
            ("/* x */ Commit and chain", TRANSACTION),
            ("rollback", TRANSACTION),
            ("set local role postgres", ROLES),
            ("reset session authorization", ROLES),
            ("alter role x password 'y'", ROLES),
            ("copy t from '/etc/passwd'", COPY),
            ("listen x", NOTIFY),
            ("discard all", PREPARED),
        ] {
            assert_eq!(plan(sql), Err(expected), "{sql}");
        }
        assert!(
            matches!(plan("select 1; select 2"), Err(Refusal::Invalid(why)) if why.contains("more than one"))
        );
        assert!(plan("rollback to savepoint a").unwrap().savepoint);
        assert!(matches!(plan("select '\0'"), Err(Refusal::Invalid(_))));
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(sql in "(\\PC|[';\"$/*\\\\\n-]){0,80}") {
            let _ = plan(&sql);
        }

        #[test]
        fn a_semicolon_in_quotes_ends_nothing(text in "[a-z;' ]{0,20}") {
            let quoted = text.replace('\'', "''");
            let sql = format!("select '{quoted}', $q${text}$q$, \"{text}\"");
            prop_assert_eq!(plan(&sql).map(|plan| plan.end), Ok(sql.len()));
        }
    }
}
