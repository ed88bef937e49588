//! What a tenant has at a service: made, read, watched and taken down again through the contract's own calls.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use isa_config::ServiceKind;
use parking_lot::Mutex;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;

use crate::{
    message::{Dictionary, Identity, change_texts, message, texts, without},
    wire::{self, Answer, Client, Reading},
};

/// Streams of responses that are to end: they are read to their end.
pub(crate) const TO_THE_END: Reading = Reading {
    messages: 10_000,
    silence: Duration::from_secs(5),
};

/// A call, as JSON: an object for one request, an array for a stream of them. `${name}` in a text stands for what an earlier
/// step saved.
pub(crate) struct Step {
    pub(crate) method: &'static str,
    pub(crate) request: Json,
    /// Saves fields of the first response: name and path (`session_id`, `messages.0.sequence`).
    pub(crate) save: Vec<(&'static str, &'static str)>,
    /// Fields that the first response must have.
    pub(crate) expect: Json,
}

pub(crate) fn step(method: &'static str, request: Json) -> Step {
    Step {
        method,
        request,
        save: Vec::new(),
        expect: json!({}),
    }
}

impl Step {
    pub(crate) fn save(mut self, name: &'static str, path: &'static str) -> Self {
        self.save.push((name, path));
        self
    }

    pub(crate) fn expect(mut self, fields: Json) -> Self {
        self.expect = fields;
        self
    }
}

/// What a service is tried with. Every name and value in it begins with the tenant's marker.
pub(crate) struct Fixture {
    pub(crate) kind: ServiceKind,
    /// Makes the tenant's things.
    pub(crate) make: Vec<Step>,
    /// Reads them: the answers stay as they are, whatever others do.
    pub(crate) read: Vec<Step>,
    /// Streams that the tenant has open all the while.
    pub(crate) watch: Vec<Step>,
    /// Sends something to these.
    pub(crate) poke: Vec<Step>,
    /// Changes and removes the tenant's things in the end. After it, every method was called.
    pub(crate) last: Vec<Step>,
    /// What others fill their requests with.
    pub(crate) dictionary: Json,
    /// Fields that differ from call to call by their nature.
    pub(crate) volatile: &'static [&'static str],
    /// Sent with calls of any content, if they may rightly wait longer: for what another call holds.
    pub(crate) deadline: Option<Duration>,
    /// Methods whose answers tell of more than what they are asked about: not compared with those about absent things.
    pub(crate) incomparable: &'static [&'static str],
    /// Methods that name a thing by an id which carries its tenant, and have no organization: an open server believes the id,
    /// so that another may call them on it. Tried with tokens alone.
    pub(crate) by_id_alone: &'static [&'static str],
}

/// The words that a fixture is made of.
pub(crate) struct Names {
    /// Begins every name and value of the tenant.
    pub(crate) mine: String,
    /// Begins every value that the others send.
    pub(crate) theirs: String,
    /// The slugs that the tenant may have in the engine.
    pub(crate) slugs: Vec<String>,
}

/// One who calls a service, and what it has saved.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) client: Client,
    pub(crate) identity: Identity,
    pub(crate) saved: Arc<Mutex<BTreeMap<String, Json>>>,
}

impl Actor {
    pub(crate) fn new(client: Client, identity: Identity) -> Self {
        Self {
            client,
            identity,
            saved: Arc::default(),
        }
    }

    pub(crate) async fn run(&self, kind: ServiceKind, step: &Step) -> Answer {
        let method = wire::method(kind, step.method);
        let requests = self.requests(&method, &step.request);
        self.send(&method, requests, TO_THE_END).await
    }

    /// Runs steps that must go well.
    pub(crate) async fn run_all(&self, kind: ServiceKind, steps: &[Step]) {
        for step in steps {
            let answer = self.run(kind, step).await;
            assert!(
                answer.is_ok(),
                "{kind} {} {}: {answer:?}",
                step.method,
                step.request
            );
            self.note(step, &answer);
        }
    }

    /// Saves and checks what the step says.
    fn note(&self, step: &Step, answer: &Answer) {
        if step.save.is_empty() && step.expect == json!({}) {
            return;
        }
        let Some(first) = answer.messages.first() else {
            panic!("{} gave no message", step.method);
        };
        for (name, path) in &step.save {
            let value = at(&Value::Message(first.clone()), path)
                .unwrap_or_else(|| panic!("{} gave no {path}: {first:?}", step.method));
            self.saved.lock().insert((*name).to_owned(), value);
        }
        for (name, expected) in step.expect.as_object().into_iter().flatten() {
            let found = at(&Value::Message(first.clone()), name);
            assert_eq!(
                found.as_ref(),
                Some(expected),
                "{}: {name} of {first:?}",
                step.method
            );
        }
    }

    /// The messages of a request with what was saved and who asks.
    pub(crate) fn requests(&self, method: &MethodDescriptor, request: &Json) -> Vec<DynamicMessage> {
        let request = self.resolve(request);
        let each = match &request {
            Json::Array(each) => each.as_slice(),
            one => std::slice::from_ref(one),
        };
        each.iter().map(|json| message(&method.input(), json)).collect()
    }

    /// The JSON with `${name}` replaced: a text that is nothing else becomes what was saved, of its type.
    pub(crate) fn resolve(&self, json: &Json) -> Json {
        match json {
            Json::String(text) => match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => self
                    .saved
                    .lock()
                    .get(name)
                    .unwrap_or_else(|| panic!("{name} was not saved"))
                    .clone(),
                None => json.clone(),
            },
            Json::Array(items) => items.iter().map(|item| self.resolve(item)).collect(),
            Json::Object(fields) => fields
                .iter()
                .map(|(key, value)| (key.clone(), self.resolve(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    pub(crate) fn dictionary(&self, fixture: &Fixture) -> Dictionary {
        match self.resolve(&fixture.dictionary) {
            Json::Object(dictionary) => dictionary,
            other => panic!("{other} is no dictionary"),
        }
    }

    /// Sends messages in this actor's name.
    pub(crate) async fn send(
        &self,
        method: &MethodDescriptor,
        mut requests: Vec<DynamicMessage>,
        reading: Reading,
    ) -> Answer {
        for request in &mut requests {
            self.identity.sign(request);
        }
        self.client.call(method, wire::encoded(&requests), reading).await
    }

    /// What the read steps show, as text, to be compared later.
    pub(crate) async fn snapshot(&self, fixture: &Fixture) -> Vec<String> {
        let mut seen = Vec::new();
        for step in &fixture.read {
            let answer = self.run(fixture.kind, step).await;
            let mut text = format!("{} {}: {:?}", step.method, step.request, answer.status.code());
            for message in &answer.messages {
                text += &format!(" {}", stable(&without(message, fixture.volatile)));
            }
            seen.push(text);
        }
        seen
    }

    /// Opens a stream and keeps what comes; what asks for a reply gets one.
    pub(crate) async fn watch(&self, kind: ServiceKind, step: &Step) -> Watch {
        let method = wire::method(kind, step.method);
        let mut requests = self.requests(&method, &step.request);
        for request in &mut requests {
            self.identity.sign(request);
        }
        let mut responses = self
            .client
            .open(&method, wire::encoded(&requests))
            .await
            .unwrap_or_else(|status| panic!("{kind} {}: {status:?}", step.method));
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (kept, me) = (Arc::clone(&seen), self.clone());
        let task = tokio::spawn(async move {
            loop {
                let message = match responses.message().await {
                    Ok(Some(bytes)) => wire::decoded(&method, &bytes),
                    Ok(None) => return "OK".to_owned(),
                    Err(status) => return format!("{status:?}"),
                };
                let Ok(message) = message else {
                    return format!("{message:?}");
                };
                let mut text = String::new();
                texts(&message, "", &mut |path, word| text += &format!("{path}={word} "));
                kept.lock().push(text);
                let reply_to = message.get_field_by_name("reply_to");
                let reply_to = reply_to
                    .as_ref()
                    .and_then(|value| value.as_str())
                    .unwrap_or_default();
                if !reply_to.is_empty() {
                    let reply = step_reply(reply_to);
                    me.run(kind, &reply).await;
                }
            }
        });
        Watch {
            method: step.method,
            seen,
            task,
        }
    }
}

fn step_reply(subject: &str) -> Step {
    step("Publish", json!({"subject": subject, "data": "a reply"}))
}

/// An open stream.
pub(crate) struct Watch {
    pub(crate) method: &'static str,
    /// The texts of each message.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    /// Gives how it ended.
    pub(crate) task: JoinHandle<String>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A value inside a message, as JSON: numbers, texts and truth values.
fn at(value: &Value, path: &str) -> Option<Json> {
    if path.is_empty() {
        return match value {
            Value::String(text) => Some(text.as_str().into()),
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into()),
            Value::Bool(value) => Some((*value).into()),
            Value::I32(value) | Value::EnumNumber(value) => Some((*value).into()),
            Value::I64(value) => Some((*value).into()),
            Value::F64(value) => Some((*value).into()),
            Value::List(items) => Some(items.len().into()),
            _ => None,
        };
    }
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    match value {
        Value::Message(message) => at(&*message.get_field_by_name(first)?, rest),
        Value::List(items) => at(items.get(first.parse::<usize>().ok()?)?, rest),
        _ => None,
    }
}

/// Text that is the same for the same message: maps and unordered lists sorted.
fn stable(message: &DynamicMessage) -> String {
    fn of(value: &Value) -> String {
        match value {
            Value::Message(message) => stable(message),
            Value::Map(entries) => {
                let entries = crate::message::sorted(entries);
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| format!("{key:?}: {}", of(value)))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
            Value::List(items) => {
                let mut items: Vec<_> = items.iter().map(of).collect();
                items.sort();
                format!("[{}]", items.join(", "))
            }
            other => format!("{other:?}"),
        }
    }
    let fields: Vec<_> = message
        .fields()
        .map(|(field, value)| format!("{}: {}", field.name(), of(value)))
        .collect();
    format!("({})", fields.join(", "))
}

/// The same requests about things that are not there: other names of the same form, ids with another end.
pub(crate) fn about_nothing(
    requests: &[DynamicMessage],
    mine: &str,
    absent: &str,
    ids: &[String],
) -> Vec<DynamicMessage> {
    let mut requests = requests.to_vec();
    for request in &mut requests {
        change_texts(request, "", &mut |_, text| {
            if ids.iter().any(|id| id == text) {
                *text = another_id(text);
            } else {
                *text = text.replace(mine, absent);
            }
        });
    }
    requests
}

/// An id of the same form that nothing has.
fn another_id(id: &str) -> String {
    let turned = id.char_indices().rev().find(|(_, c)| c.is_ascii_alphanumeric());
    let Some((at, found)) = turned else {
        return id.to_owned();
    };
    let other = if found == '1' { '2' } else { '1' };
    format!("{}{other}{}", &id[..at], &id[at + 1..])
}
