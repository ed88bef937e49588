//! Requests of any content: no panic, no hang, and never a status that says the server failed.

use std::time::Duration;

use isa_config::{AuthMode, ServerConfig, ServiceKind};
use isa_server::Tenant;
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner},
};
use prost_reflect::{DynamicMessage, MethodDescriptor, bytes::Bytes, prost::Message};
use tokio::runtime::Handle;
use tonic::Code;

use crate::{
    crafted,
    entropy::Entropy,
    fixture::{Actor, Fixture, Names, Step},
    fixtures,
    harness::Node,
    isolation::brief,
    message::{Dictionary, Identity, filled},
    wire::{self, Answer, Client, Reading},
};

/// Requests for each method. All services together take about a minute.
const CASES: u32 = 48;

/// Bytes that a request is made of, at most.
const BYTES: usize = 400;

/// Streams of responses are read so far.
const READING: Reading = Reading {
    messages: 20,
    silence: Duration::from_millis(30),
};

pub(crate) async fn bad_input(kind: ServiceKind) {
    let seed = seed();
    println!("{kind}: BAD_INPUT_SEED={seed} makes the same requests again");
    let mut config = ServerConfig::default();
    config.auth.mode = AuthMode::Open;
    config.limits.default.calls_per_second = 0;
    let node = Node::with(kind, &config).await;
    let client = Client {
        channel: node.channel().await,
        token: None,
        deadline: None,
    };

    // One whose calls are good, all the while.
    let (bystander, good) = tenant(kind, &client).await;
    let mut failures = Vec::new();
    for method in wire::service(kind).methods() {
        // Each method has a tenant of its own: the calls remove what they can.
        let (mut actor, fixture) = tenant(kind, &client).await;
        actor.client.deadline = fixture.deadline;
        let words = words(&actor, &fixture);
        let trial = Trial {
            dictionary: actor.dictionary(&fixture),
            actor: &actor,
            method: &method,
            words,
        };
        if let Some(failure) = tokio::task::block_in_place(|| trial.run(seed)) {
            println!("{failure}");
            failures.push(failure);
        }
        if !client.serves(kind).await {
            failures.push(format!("{}: the service is not SERVING after it", method.name()));
        }
        for step in good.read.iter().take(3) {
            let answer = bystander.run(kind, step).await;
            if !answer.is_ok() {
                failures.push(format!(
                    "{}: after it another tenant's {} gives {:?} {}",
                    method.name(),
                    step.method,
                    answer.code(),
                    answer.status.message(),
                ));
            }
        }
        // Whatever is left of its things goes, and nothing new comes.
        for step in fixture.last.iter().filter(|step| step.save.is_empty()) {
            clean(&actor, kind, step).await;
        }
    }
    assert!(
        failures.is_empty(),
        "{kind}: BAD_INPUT_SEED={seed}: {} failures\n  {}",
        failures.len(),
        failures.join("\n  ")
    );
}

/// A tenant with its things.
async fn tenant(kind: ServiceKind, client: &Client) -> (Actor, Fixture) {
    let tag = hex::encode(rand::random::<[u8; 4]>());
    let names = Names {
        mine: format!("zq{tag}"),
        theirs: format!("yb{tag}"),
        slugs: vec![],
    };
    let identity = Identity {
        user: format!("{tag}-user"),
        organization: format!("{tag}-org"),
    };
    let slugs = [
        Tenant::organization(&identity.organization),
        Tenant::user(&identity.user),
    ];
    fixtures::prepare(kind, &names, &slugs.map(|tenant| tenant.slug().to_owned())).await;
    let actor = Actor::new(client.clone(), identity);
    let fixture = fixtures::fixture(kind, &names);
    actor.run_all(kind, &fixture.make).await;
    (actor, fixture)
}

/// A step whose outcome does not matter. What it names may never have been saved.
async fn clean(actor: &Actor, kind: ServiceKind, step: &Step) {
    let method = wire::method(kind, step.method);
    let requests = actor.requests(&method, &step.request);
    actor.send(&method, requests, READING).await;
}

/// Texts that mean something to the method, and such that mean something elsewhere.
fn words(actor: &Actor, fixture: &Fixture) -> Vec<String> {
    let mut words = Vec::new();
    let mut stack: Vec<serde_json::Value> = actor
        .dictionary(fixture)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    while let Some(value) = stack.pop() {
        match value {
            serde_json::Value::String(text) => words.push(text),
            serde_json::Value::Array(items) => stack.extend(items),
            serde_json::Value::Object(fields) => stack.extend(fields.into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    words.extend(crafted::names(&Names {
        mine: "zq".into(),
        theirs: "yb".into(),
        slugs: vec![],
    }));
    words.sort();
    words.dedup();
    words
}

struct Trial<'a> {
    actor: &'a Actor,
    method: &'a MethodDescriptor,
    dictionary: Dictionary,
    words: Vec<String>,
}

impl Trial<'_> {
    /// The least request that goes wrong, if any does.
    fn run(&self, seed: u64) -> Option<String> {
        // Another sequence for each method.
        let salt = self
            .method
            .full_name()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut runner = TestRunner::new(Config {
            cases: CASES,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed ^ salt),
            max_shrink_iters: 60,
            max_shrink_time: 10_000,
            ..Config::default()
        });
        let bytes = vec(any::<u8>(), 0..BYTES);
        let outcome = runner.run(&bytes, |bytes| {
            let (requests, shown) = self.requests(&bytes);
            let call = self.actor.client.call(self.method, requests, READING);
            let answer = Handle::current().block_on(call);
            match wrong(&answer) {
                None => Ok(()),
                Some(what) => Err(TestCaseError::fail(format!("{what}\n    asked {shown}"))),
            }
        });
        match outcome {
            Ok(()) => None,
            Err(TestError::Fail(why, _)) => Some(format!("{}: {why}", self.method.name())),
            Err(TestError::Abort(why)) => Some(format!("{}: gave up: {why}", self.method.name())),
        }
    }

    /// The messages of a call, and how they read.
    fn requests(&self, bytes: &[u8]) -> (Vec<Bytes>, String) {
        let mut entropy = Entropy::new(bytes, &self.words);
        let variant = entropy.below(16);
        let (good, _) = filled(self.method, &self.dictionary, variant);
        let kind = entropy.below(8);
        let mut messages: Vec<DynamicMessage> = match kind {
            // A good request with something else in places.
            0..=3 | 7 => good,
            _ if self.method.is_client_streaming() => (0..entropy.below(5))
                .map(|_| entropy.message(&self.method.input(), 0))
                .collect(),
            _ => vec![entropy.message(&self.method.input(), 0)],
        };
        for message in &mut messages {
            self.actor.identity.sign(message);
        }
        if kind <= 3 {
            for message in &mut messages {
                entropy.change(message, 0);
            }
        }
        let shown = brief(&messages);
        if kind == 7 {
            let damaged = messages
                .iter()
                .map(|message| entropy.garbage(&message.encode_to_vec()));
            let damaged: Vec<_> = damaged.collect();
            return (damaged.clone(), format!("bytes {damaged:02x?} (of {shown})"));
        }
        (wire::encoded(&messages), shown)
    }
}

/// What must not be, whatever was asked.
fn wrong(answer: &Answer) -> Option<String> {
    if answer.hung {
        return Some(format!("no answer in {:?}", wire::HANGS_AFTER));
    }
    matches!(answer.code(), Code::Internal | Code::Unknown | Code::DataLoss)
        .then(|| format!("{:?} {:?}", answer.code(), answer.status.message()))
}

/// That of `BAD_INPUT_SEED`, or a new one.
fn seed() -> u64 {
    #[allow(clippy::disallowed_methods)] // A run is made again by hand: no configuration of the program.
    let given = std::env::var("BAD_INPUT_SEED").ok();
    given.map_or_else(rand::random, |text| {
        text.parse().expect("BAD_INPUT_SEED is a number")
    })
}
