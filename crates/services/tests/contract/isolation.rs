//! Two tenants, every method: the second tries all of them on the first one's things. Nothing of the first may come back, and
//! nothing of it may change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    time::Duration,
};

use futures::{StreamExt, stream};
use isa_config::{AuthMode, ServerConfig, ServiceKind};
use isa_server::{Claims, Tenant, issue_token, rotate_keys};
use prost_reflect::{DynamicMessage, MethodDescriptor, prost::Message};
use tonic::Code;

use crate::{
    crafted,
    fixture::{Actor, Fixture, Names, Watch, about_nothing},
    fixtures,
    harness::Node,
    marks::Marks,
    message::{Identity, change_texts, filled, shape, texts},
    wire::{self, Answer, Client, Reading},
};

/// Streams of responses that may go on for ever.
const A_WHILE: Reading = Reading {
    messages: 50,
    silence: Duration::from_millis(150),
};
const A_MOMENT: Reading = Reading {
    messages: 50,
    silence: Duration::from_millis(60),
};

/// How much of a request is shown, in bytes.
const BRIEF: usize = 600;

/// Calls with crafted names at once.
const AT_ONCE: usize = 8;

/// Methods that see every tenant's things: they need a scope, which the tokens here lack. An open server gives it to everyone,
/// so that they are not tried there.
fn unconfined(kind: ServiceKind) -> &'static [&'static str] {
    match kind {
        ServiceKind::Neo4j => &["RunCypher", "RunCypherRead", "RunCypherWrite", "RunCypherBatch"],
        _ => &[],
    }
}

/// Failures that are printed in full.
const SHOWN: usize = 40;

/// A service with two tenants.
struct Trial {
    _node: Node,
    _keys: tempfile::TempDir,
    kind: ServiceKind,
    fixture: Fixture,
    names: Names,
    absent: String,
    alice: Actor,
    bob: Actor,
    /// Without a token.
    nobody: Actor,
    marks: Marks,
    failures: Vec<String>,
}

pub(crate) async fn isolation(kind: ServiceKind, mode: AuthMode) {
    let mut trial = Trial::start(kind, mode).await;
    let mut answered = trial.make().await;
    let watches = trial.watches().await;
    let mut before = trial.alice.snapshot(&trial.fixture).await;
    let again = trial.alice.snapshot(&trial.fixture).await;
    assert_eq!(
        before, again,
        "{kind}: what the first tenant reads is not steady by itself"
    );

    let mut reached = BTreeMap::new();
    let believed = |trial: &Trial, method: &MethodDescriptor| {
        mode == AuthMode::Open && trial.fixture.by_id_alone.contains(&method.name())
    };
    for method in in_turn(kind) {
        if unconfined(kind).contains(&method.name()) {
            trial.try_unconfined(&method, mode).await;
            continue;
        }
        if believed(&trial, &method) {
            continue;
        }
        let good = trial.try_method(&method).await;
        trial
            .compare(&mut before, &format!("{} on another's things", method.name()))
            .await;
        *reached.entry(method.name().to_owned()).or_default() |= good;
    }
    for method in wire::service(kind).methods() {
        if unconfined(kind).contains(&method.name()) || believed(&trial, &method) {
            continue;
        }
        trial.try_crafted(&method, mode).await;
        trial
            .compare(&mut before, &format!("{} with crafted names", method.name()))
            .await;
    }
    if mode == AuthMode::Required {
        trial.try_as_another().await;
        trial.compare(&mut before, "calls in another's name").await;
    }
    trial.check_watches(&watches).await;
    if trial.failures.is_empty() {
        // What is left must be all of it.
        answered.extend(trial.last().await);
        trial.check_coverage(&answered, &reached);
    }
    trial.report();
}

/// Methods in the order in which they are tried: reads before anything of these names is the second tenant's own, what
/// removes before what makes, and all of it again.
fn in_turn(kind: ServiceKind) -> Vec<MethodDescriptor> {
    let reads_only = |method: &MethodDescriptor| {
        let path = format!("/{}/{}", kind.grpc_service(), method.name());
        isa_proto::METHODS
            .iter()
            .any(|known| known.path == path && known.reads_only)
    };
    let (reads, writes): (Vec<_>, Vec<_>) = wire::service(kind).methods().partition(reads_only);
    let backwards = writes.iter().rev();
    reads
        .iter()
        .chain(backwards)
        .chain(&writes)
        .chain(&reads)
        .cloned()
        .collect()
}

impl Trial {
    async fn start(kind: ServiceKind, mode: AuthMode) -> Self {
        let tag = hex::encode(rand::random::<[u8; 4]>());
        let (mine, theirs, absent) = (format!("zq{tag}"), format!("yb{tag}"), format!("zx{tag}"));
        let identity = |name: &str| Identity {
            user: format!("{name}-user"),
            organization: format!("{name}-org"),
        };
        let (first, second) = (identity(&mine), identity(&theirs));
        let slugs = [
            Tenant::organization(&first.organization),
            Tenant::user(&first.user),
        ]
        .map(|tenant| tenant.slug().to_owned());

        let keys = tempfile::tempdir().expect("a folder");
        let mut config = ServerConfig::default();
        config.auth.mode = mode;
        // This is not about how much a tenant may ask.
        config.limits.default.calls_per_second = 0;
        let token = |of: &Identity| {
            let claims = Claims {
                sub: of.user.clone(),
                org: Some(of.organization.clone()),
                roles: BTreeSet::new(),
                scope: String::new(),
                iss: None,
                aud: None,
                iat: None,
                exp: 0,
            };
            issue_token(keys.path(), claims, Duration::from_secs(3600)).expect("a token")
        };
        let required = mode == AuthMode::Required;
        if required {
            rotate_keys(keys.path(), 1).expect("a key");
            config.auth.keys_dir = Some(keys.path().to_owned());
        }
        let node = Node::with(kind, &config).await;
        let channel = node.channel().await;
        let actor = |of: &Identity| {
            let client = Client {
                channel: channel.clone(),
                token: required.then(|| token(of)),
                deadline: None,
            };
            // With a token there is nothing to be said in the request.
            Actor::new(client, if required { Identity::default() } else { of.clone() })
        };
        let (alice, bob) = (actor(&first), actor(&second));
        let names = Names {
            mine,
            theirs,
            slugs: slugs.into(),
        };
        fixtures::prepare(kind, &names, &names.slugs).await;
        let marks = Marks::new(&names);
        Self {
            fixture: fixtures::fixture(kind, &names),
            nobody: Actor::new(
                Client {
                    channel,
                    token: None,
                    deadline: None,
                },
                Identity::default(),
            ),
            _node: node,
            _keys: keys,
            kind,
            names,
            absent,
            alice,
            bob,
            marks,
            failures: Vec::new(),
        }
    }

    /// The methods that the first tenant has called with success.
    async fn make(&self) -> BTreeSet<&'static str> {
        self.alice.run_all(self.kind, &self.fixture.make).await;
        let all = [
            &self.fixture.make,
            &self.fixture.read,
            &self.fixture.watch,
            &self.fixture.poke,
        ];
        all.into_iter().flatten().map(|step| step.method).collect()
    }

    async fn last(&self) -> BTreeSet<&'static str> {
        self.alice.run_all(self.kind, &self.fixture.last).await;
        self.fixture.last.iter().map(|step| step.method).collect()
    }

    async fn watches(&self) -> Vec<Watch> {
        let mut watches = Vec::new();
        for step in &self.fixture.watch {
            watches.push(self.alice.watch(self.kind, step).await);
        }
        watches
    }

    /// One method with every candidate of the dictionary, twice: about the first tenant's things, and about nothing. Whether
    /// any request was a good one.
    async fn try_method(&mut self, method: &MethodDescriptor) -> bool {
        let dictionary = self.alice.dictionary(&self.fixture);
        let ids: Vec<String> = self
            .alice
            .saved
            .lock()
            .values()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect();
        let mut good = false;
        let (mut variant, mut variants) = (0, 1);
        while variant < variants {
            let (requests, all) = filled(method, &dictionary, variant);
            variants = all;
            variant += 1;
            let nothing = about_nothing(&requests, &self.names.mine, &self.absent, &ids);
            let answer = self.send(method, &requests, A_WHILE).await;
            let other = self.send(method, &nothing, A_WHILE).await;
            good |= answer.code() != Code::InvalidArgument;
            if self.fixture.incomparable.contains(&method.name()) {
                continue;
            }
            let (one, two) = (self.outline(&answer), self.outline(&other));
            if one != two {
                self.failures.push(format!(
                    "{}: another's thing can be told from an absent one\n    asked {}\n    gave  {one} {}\n    absent {two} {}",
                    method.name(),
                    brief(&requests),
                    answer.status.message(),
                    other.status.message(),
                ));
            }
        }
        good
    }

    /// Refused to who has no more than a token, the owner of the things too.
    async fn try_unconfined(&mut self, method: &MethodDescriptor, mode: AuthMode) {
        if mode == AuthMode::Open {
            return;
        }
        let dictionary = self.alice.dictionary(&self.fixture);
        let (requests, _) = filled(method, &dictionary, 0);
        for actor in [&self.alice, &self.bob] {
            let answer = actor.send(method, requests.clone(), A_MOMENT).await;
            if answer.code() != Code::PermissionDenied {
                self.failures.push(format!(
                    "{}: PermissionDenied expected without its scope, got {:?} {}",
                    method.name(),
                    answer.code(),
                    answer.status.message(),
                ));
            }
        }
    }

    fn outline(&self, answer: &Answer) -> String {
        let mut out = format!("{:?}", answer.code());
        for message in &answer.messages {
            let _ = write!(out, " {}", shape(message, self.fixture.volatile));
        }
        out
    }

    /// Sends requests as the second tenant, while the first sends to its own streams, and looks at what comes back.
    async fn send(
        &mut self,
        method: &MethodDescriptor,
        requests: &[DynamicMessage],
        reading: Reading,
    ) -> Answer {
        self.marks.sent_in(requests);
        let call = self.bob.send(method, requests.to_vec(), reading);
        let answer = if method.is_server_streaming() && !self.fixture.poke.is_empty() {
            let poke = async {
                // After the headers of the stream, more or less: a subscription that leaks must have a chance.
                tokio::time::sleep(Duration::from_millis(50)).await;
                self.alice.run_all(self.kind, &self.fixture.poke).await;
            };
            tokio::join!(call, poke).0
        } else {
            call.await
        };
        self.judge(method, requests, &answer);
        answer
    }

    fn judge(&mut self, method: &MethodDescriptor, requests: &[DynamicMessage], answer: &Answer) {
        let mut wrong = Vec::new();
        if answer.hung {
            wrong.push("hangs".to_owned());
        }
        if matches!(answer.code(), Code::Internal | Code::Unknown) {
            wrong.push(format!("gave {:?} {:?}", answer.code(), answer.status.message()));
        }
        if let Some(leak) = self.marks.leak(answer) {
            wrong.push(format!("LEAKS {leak}"));
        }
        for what in wrong {
            self.failures.push(format!(
                "{}: {what}\n    asked {}",
                method.name(),
                brief(requests)
            ));
        }
    }

    /// Every text of a request in turn with every crafted name.
    async fn try_crafted(&mut self, method: &MethodDescriptor, mode: AuthMode) {
        let dictionary = self.alice.dictionary(&self.fixture);
        let (base, _) = filled(method, &dictionary, 0);
        let mut places = 0;
        for message in &mut base.clone() {
            self.bob.identity.sign(message);
            change_texts(message, "", &mut |_, _| places += 1);
        }
        let names = crafted::names(&self.names);
        let mut all = Vec::new();
        for place in 0..places {
            for name in &names {
                if let Some(requests) = self.with_text(&base, place, name, mode) {
                    all.push(requests);
                }
            }
        }
        for requests in &all {
            self.marks.sent_in(requests);
        }
        let bob = &self.bob;
        let answers: Vec<_> = stream::iter(all)
            .map(|requests| async move {
                let answer = bob.client.call(method, wire::encoded(&requests), A_MOMENT).await;
                (requests, answer)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (requests, answer) in &answers {
            self.judge(method, requests, answer);
        }
    }

    /// The requests with another text in one place. On an open server that may be who asks: another tenant again. With a
    /// token that is tried apart.
    fn with_text(
        &self,
        base: &[DynamicMessage],
        place: usize,
        name: &str,
        mode: AuthMode,
    ) -> Option<Vec<DynamicMessage>> {
        let mut requests = base.to_vec();
        for request in &mut requests {
            self.bob.identity.sign(request);
        }
        let (mut at, mut identity) = (0, false);
        for request in &mut requests {
            change_texts(request, "", &mut |path, text| {
                if at == place {
                    name.clone_into(text);
                    identity = path.ends_with(".user_id")
                        || path.ends_with(".organization_id")
                        || path.ends_with(".access_token");
                }
                at += 1;
            });
        }
        if identity && mode == AuthMode::Required {
            return None;
        }
        Some(requests)
    }

    /// With a token, a request cannot name another; without one, there is no call.
    async fn try_as_another(&mut self) {
        let another = Identity {
            user: format!("{}-user", self.names.mine),
            organization: format!("{}-org", self.names.mine),
        };
        for method in wire::service(self.kind).methods() {
            if method.name() == "HealthCheck" {
                continue;
            }
            let dictionary = self.alice.dictionary(&self.fixture);
            let (requests, _) = filled(&method, &dictionary, 0);
            let mut signed = requests.clone();
            signed.iter_mut().for_each(|request| another.sign(request));
            for (caller, requests, expected) in [
                (&self.nobody, &requests, Code::Unauthenticated),
                (&self.bob, &signed, Code::PermissionDenied),
            ] {
                if expected == Code::PermissionDenied && !says(requests, &another) {
                    continue;
                }
                let answer = caller
                    .client
                    .call(&method, wire::encoded(requests), A_MOMENT)
                    .await;
                if answer.code() != expected {
                    self.failures.push(format!(
                        "{}: {expected:?} expected of a call {}, got {:?} {}",
                        method.name(),
                        if expected == Code::Unauthenticated {
                            "without a token"
                        } else {
                            "in another's name"
                        },
                        answer.code(),
                        answer.status.message(),
                    ));
                }
            }
        }
    }

    /// What the first tenant reads is what it read before.
    async fn compare(&mut self, before: &mut Vec<String>, after_what: &str) {
        let now = self.alice.snapshot(&self.fixture).await;
        for (was, is) in before.iter().zip(&now).filter(|(was, is)| was != is) {
            self.failures.push(format!(
                "{after_what} CHANGED another's things\n    was {was}\n    is  {is}"
            ));
        }
        *before = now;
    }

    /// The first tenant's streams are open, have what it sent itself, and nothing of others.
    async fn check_watches(&mut self, watches: &[Watch]) {
        self.alice.run_all(self.kind, &self.fixture.poke).await;
        for watch in watches {
            let own = |seen: &[String]| seen.iter().any(|text| text.contains(&self.names.mine));
            for _ in 0..100 {
                if own(&watch.seen.lock()) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let seen = watch.seen.lock().clone();
            if watch.task.is_finished() {
                self.failures
                    .push(format!("{}: another ended the stream", watch.method));
            }
            if !own(&seen) {
                self.failures
                    .push(format!("{}: the stream lacks what was sent to it", watch.method));
            }
            if let Some(foreign) = seen.iter().find(|text| text.contains(&self.names.theirs)) {
                self.failures
                    .push(format!("{}: the stream has another's {foreign}", watch.method));
            }
        }
    }

    fn check_coverage(&mut self, answered: &BTreeSet<&str>, reached: &BTreeMap<String, bool>) {
        for (method, good) in reached {
            if !answered.contains(method.as_str()) {
                self.failures.push(format!(
                    "{method}: the suite cannot call it: add a step to the fixture"
                ));
            }
            if !good {
                self.failures.push(format!(
                    "{method}: no request of the second tenant was good: add to the dictionary"
                ));
            }
        }
    }

    fn report(mut self) {
        if self.failures.is_empty() {
            return;
        }
        // Methods are tried more than once.
        let mut told = BTreeSet::new();
        self.failures.retain(|failure| told.insert(failure.clone()));
        let mut text = format!("{}: {} failures\n", self.kind, self.failures.len());
        for failure in self.failures.iter().take(SHOWN) {
            text += &format!("  {failure}\n");
        }
        panic!("{text}");
    }
}

/// Whether the requests have a place for who asks, and it is this one.
fn says(requests: &[DynamicMessage], who: &Identity) -> bool {
    let mut said = false;
    for request in requests {
        texts(request, "", &mut |_, text| {
            said |= text == who.user || text == who.organization
        });
    }
    said
}

/// The beginning of what requests say. The rest is not even written: it may be larger than the memory.
pub(crate) fn brief(requests: &[DynamicMessage]) -> String {
    let mut beginning = Beginning(String::new());
    let whole = requests.iter().enumerate().try_for_each(|(n, request)| {
        let between = if n == 0 { "" } else { " + " };
        write!(beginning, "{between}{request}")
    });
    let Beginning(text) = beginning;
    match whole {
        Ok(()) => text,
        Err(_) => {
            let bytes: usize = requests.iter().map(Message::encoded_len).sum();
            format!("{text}… ({bytes} bytes encoded)")
        }
    }
}

/// Takes text until it is full.
struct Beginning(String);

impl Write for Beginning {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = BRIEF.saturating_sub(self.0.len());
        if more.len() > room {
            self.0.push_str(&more[..more.floor_char_boundary(room)]);
            return Err(fmt::Error);
        }
        self.0.push_str(more);
        Ok(())
    }
}
