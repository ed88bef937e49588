//! Statements about the accounts of Neo4j itself. They must not be run: the service's own account is one of these, and who
//! may send Cypher to a graph may not make himself another way in. Community has no other administration that it would do.

/// Whether a statement makes, changes or removes an account: `CREATE [OR REPLACE] USER`, `ALTER [CURRENT] USER`, `DROP USER`,
/// `RENAME USER`. These words stand side by side in no other statement, wherever they are, but for names of paths
/// (`CREATE user = ()`).
pub(crate) fn concerns_accounts(cypher: &str) -> bool {
    let plain = unescaped(cypher);
    let mut words = Words { rest: &plain }.peekable();
    while let Some(word) = words.next() {
        if !matches!(word.as_str(), "CREATE" | "ALTER" | "DROP" | "RENAME") {
            continue;
        }
        while words
            .next_if(|word| matches!(word.as_str(), "OR" | "REPLACE" | "CURRENT"))
            .is_some()
        {}
        if words.next_if(|word| word == "USER").is_some() && words.peek().is_none_or(|next| next != "=") {
            return true;
        }
    }
    false
}

/// With `\uXXXX` as the character that it stands for, as Neo4j reads it before it looks for words.
fn unescaped(cypher: &str) -> String {
    let mut plain = String::with_capacity(cypher.len());
    let mut rest = cypher;
    while let Some(at) = rest.find("\\u") {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let code = escape
            .get(2..6)
            .and_then(|code| u32::from_str_radix(code, 16).ok());
        match code.and_then(char::from_u32) {
            Some(character) => {
                plain.push(character);
                rest = &escape[6..];
            }
            None => {
                plain.push_str("\\u");
                rest = &escape[2..];
            }
        }
    }
    plain + rest
}

/// Words in capital letters, and punctuation by itself; without what is in quotes and in comments. Whatever else there is may
/// be white space to Neo4j, which knows more of it than Rust does.
struct Words<'a> {
    rest: &'a str,
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            self.rest = self
                .rest
                .trim_start_matches(|c: char| !is_word(c) && !c.is_ascii_punctuation());
            if let Some(comment) = self.rest.strip_prefix("//") {
                self.rest = comment.split_once(['\n', '\r']).map_or("", |(_, rest)| rest);
                continue;
            }
            if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
                continue;
            }
            let first = self.rest.chars().next()?;
            if matches!(first, '\'' | '"' | '`') {
                self.rest = behind_quotes(&self.rest[1..], first);
                return Some(first.into());
            }
            let end = if is_word(first) {
                self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len())
            } else {
                first.len_utf8()
            };
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Some(word.to_uppercase());
        }
    }
}

/// What follows the closing quote. Within names in backticks a backslash is one; within texts it takes the next character.
fn behind_quotes(text: &str, quote: char) -> &str {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return &text[at + character.len_utf8()..];
        }
        if character == '\\' && quote != '`' {
            characters.next();
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::concerns_accounts;

    #[test]
    fn accounts_are_found_however_it_is_written() {
        for cypher in [
            "CREATE USER x SET PASSWORD 'y'",
            "create\n or  replace /* here */ user x SET PASSWORD 'y'",
            "EXPLAIN CYPHER 5 runtime=slotted ALTER // who\n CURRENT USER SET PASSWORD FROM 'a' TO 'b'",
            "USE system DROP USER neo4j IF EXISTS",
            "RENAME USER a TO b;",
            "\\u0043REATE USER x SET PASSWORD 'y'",
            "CREATE\\u0020USER x SET PASSWORD 'y'",
            "CREATE USER `x` SET PASSWORD 'y'",
            "CREATE\u{1c}USER\u{180e}x SET PASSWORD 'y'",
            "RETURN '\\'' ; DROP USER x",
        ] {
            assert!(concerns_accounts(cypher), "{cypher}");
        }
    }

    #[test]
    fn graphs_may_speak_of_users() {
        for cypher in [
            "CREATE (user:User {name: 'CREATE USER x'}) RETURN user",
            "MATCH (user) SET user.note = \"DROP USER\" // CREATE USER",
            "CREATE user = (:A)-[:B]->(:C) RETURN user",
            "MATCH (n:`DROP USER`) DELETE n",
            "DROP INDEX user",
            "",
            "\\u",
            "RETURN 'never closed CREATE USER",
        ] {
            assert!(!concerns_accounts(cypher), "{cypher}");
        }
    }
}
