//! Finds in answers what their reader was not told before.

use std::collections::BTreeSet;

use prost_reflect::DynamicMessage;

use crate::{fixture::Names, message::texts, wire::Answer};

/// Words that begin with a marker of the first tenant, and which of them the second has sent itself: an answer may repeat
/// these, and no other.
pub(crate) struct Marks {
    marks: Vec<String>,
    sent: BTreeSet<String>,
}

impl Marks {
    pub(crate) fn new(names: &Names) -> Self {
        let mut marks = vec![names.mine.clone()];
        marks.extend(names.slugs.iter().cloned());
        Self {
            marks,
            sent: BTreeSet::new(),
        }
    }

    pub(crate) fn sent_in(&mut self, requests: &[DynamicMessage]) {
        for request in requests {
            let mut words = Vec::new();
            texts(request, "", &mut |_, text| words.extend(self.words(text)));
            self.sent.extend(words);
        }
    }

    /// A word of the first tenant that the second cannot know, and where it stands.
    pub(crate) fn leak(&self, answer: &Answer) -> Option<String> {
        let mut found = None;
        let mut look = |place: &str, text: &str, slack: usize| {
            for word in self.words(text) {
                if found.is_none() && !self.known(&word, slack) {
                    found = Some(format!("{word:?} in {place}"));
                }
            }
        };
        for message in &answer.messages {
            texts(message, "", &mut |path, text| look(path, text, 0));
        }
        look("the status", answer.status.message(), 0);
        // Encoded: what follows a word may look like a part of it.
        look(
            "its details",
            &String::from_utf8_lossy(answer.status.details()),
            2,
        );
        for value in answer.status.metadata().clone().into_headers().values() {
            look("the headers", &String::from_utf8_lossy(value.as_bytes()), 0);
        }
        found
    }

    fn known(&self, word: &str, slack: usize) -> bool {
        (0..=slack).any(|cut| {
            let end = word.len().saturating_sub(cut);
            word.get(..end)
                .is_some_and(|word| self.sent.iter().any(|sent| sent.contains(word)))
        })
    }

    /// The words of a text that begin with a marker.
    fn words(&self, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        for mark in &self.marks {
            for (at, _) in text.match_indices(mark.as_str()) {
                let rest = &text[at..];
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
                words.push(rest[..end.unwrap_or(rest.len())].to_owned());
            }
        }
        words
    }
}
