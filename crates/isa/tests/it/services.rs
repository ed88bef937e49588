//! The building blocks as a user gets them: with `isa up`, alone by `isa serve`, and through `isa connect`.

use std::{fs, path::Path};

use isa_config::EngineKind;
use isa_proto::redis::{GetRequest, SetRequest, redis_service_client::RedisServiceClient};
use isa_testkit::{Isa, PATIENCE, Running, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tonic::{Code, Request, Status, transport::Channel};

use crate::isa;

/// Calls the redis service at an address, with or without a token.
struct Caller {
    address: String,
    token: Option<String>,
    runtime: tokio::runtime::Runtime,
}

impl Caller {
    fn new(address: &str) -> Self {
        // Its connections answer while nobody calls.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            address: format!("http://{address}"),
            token: None,
            runtime,
        }
    }

    fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.trim().to_owned());
        self
    }

    async fn channel(&self) -> Result<Channel, Status> {
        let address = Channel::from_shared(self.address.clone()).unwrap();
        let channel = address.connect().await;
        channel.map_err(|e| Status::unavailable(e.to_string()))
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    fn set(&self, key: &str, value: &str) -> Result<(), Status> {
        let request = SetRequest {
            key: key.into(),
            value: value.into(),
            ..Default::default()
        };
        self.runtime.block_on(async {
            let mut client = RedisServiceClient::new(self.channel().await?);
            client.set(self.request(request)).await.map(drop)
        })
    }

    fn get(&self, key: &str) -> Result<Option<String>, Status> {
        let request = GetRequest {
            key: key.into(),
            ..Default::default()
        };
        self.runtime.block_on(async {
            let mut client = RedisServiceClient::new(self.channel().await?);
            let answer = client.get(self.request(request)).await?.into_inner();
            Ok(answer.found.then_some(answer.value))
        })
    }
}

fn http(url: &str) -> Result<Value, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let answer = reqwest::get(url).await.map_err(|e| e.to_string())?;
        answer.json().await.map_err(|e| e.to_string())
    })
}

/// The address at which Consul knows a service to be healthy.
fn registered(consul: &str, name: &str) -> Result<String, String> {
    let found = http(&format!("{consul}/v1/health/service/{name}?passing=true"))?;
    match &found[0]["Service"] {
        Value::Null => Err(format!("{name} is not there: {found}")),
        service => Ok(format!(
            "{}:{}",
            service["Address"].as_str().unwrap_or_default(),
            service["Port"]
        )),
    }
}

#[test]
fn isa_up_serves_registers_and_records() {
    let isa = isa();
    let up = isa.up(&["--only", "consul,redis"]);
    let status = isa.status().unwrap();
    let service = &status["services"][0];
    assert_eq!(
        (&service["name"], &service["status"]),
        (&json!("redis"), &json!("Ready")),
        "{status}"
    );
    let address = service["address"].as_str().unwrap().to_owned();
    let file: Value = serde_json::from_slice(&fs::read(isa.state().join("services.json")).unwrap()).unwrap();
    assert_eq!(file, json!({ "redis": address }));
    assert!(
        isa.ok(&["status", "-o", "env"])
            .stdout
            .contains(&format!("REDIS_GRPC_ADDRESS='{address}'"))
    );
    assert!(isa.ok(&["status"]).stdout.contains("redis-grpc"));

    let caller = Caller::new(&address);
    caller.set("a", "1").unwrap();
    assert_eq!(caller.get("a").unwrap().as_deref(), Some("1"));
    let audit = eventually("the call is on record", PATIENCE, || {
        let text = fs::read_to_string(isa.state().join("logs/audit.jsonl")).unwrap_or_default();
        if text.ends_with('\n') { Ok(text) } else { Err(text) }
    });
    let record: Value = serde_json::from_str(audit.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&record["service"], &record["method"], &record["tenant"]),
        (&json!("redis"), &json!("Set"), &json!("user:default_user")),
        "{record}"
    );

    // The names that the published client looks up, and again after Consul has lost everything.
    let consul = isa.endpoints()[&EngineKind::Consul].url.clone();
    for again in [false, true] {
        if again {
            isa.ok(&["reset", "consul", "--yes"]);
        }
        for name in ["redis", "redis-grpc-service"] {
            let at = eventually("the service is in Consul", PATIENCE, || registered(&consul, name));
            assert_eq!(at, address);
        }
    }

    // The engine goes and comes back; the service stays.
    isa.ok(&["restart", "redis"]);
    eventually("the value is there again", PATIENCE, || match caller.get("a") {
        Ok(Some(value)) if value == "1" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(up.stop(), Some(0));
    assert!(caller.get("a").is_err());
}

#[test]
fn a_busy_port_of_a_service_is_told_before_anything_starts() {
    let isa = isa();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("redis-grpc={}", taken.local_addr().unwrap().port());
    let refused = isa.run(&["up", "--only", "redis", "--free-ports", "--port", &port]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("(redis-grpc) is in use by process"),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("--port redis-grpc=0"), "{refused:?}");
}

/// `isa serve redis` in a folder of its own, with what it printed as the address.
fn serve<'a>(isa: &'a Isa, args: &[&str]) -> (Running<'a>, String) {
    let mut all = vec!["serve", "redis", "--set", "server.ports.redis=0"];
    all.extend(args);
    let running = isa.start(&all);
    let address = eventually("isa serves", PATIENCE, || {
        let out = running.stdout();
        let line = out
            .lines()
            .find_map(|line| line.strip_prefix("redis"))
            .map(str::trim);
        line.map(str::to_owned)
            .ok_or_else(|| format!("{out}{}", running.stderr()))
    });
    (running, address)
}

fn at_redis(isa: &mut Isa, engines: &Isa) {
    let redis = engines.endpoints()[&EngineKind::Redis].clone();
    isa.env("ISA_ENGINES__REDIS__URL", redis.url);
    isa.env("ISA_ENGINES__REDIS__PASSWORD", redis.password.unwrap().expose());
}

fn token(folder: &Path, isa: &Isa, args: &[&str]) -> String {
    let keys = folder.join("keys");
    let mut all = vec!["token", "issue", "--keys", keys.to_str().unwrap()];
    all.extend(args);
    isa.ok(&all).stdout.trim().to_owned()
}

#[test]
fn tokens_keys_and_connect() {
    let engines = isa();
    let _up = engines.up(&["--only", "redis", "--set", "services=[]"]);
    let mut server = isa();
    at_redis(&mut server, &engines);
    let keys = server.folder().join("keys");
    let keys_dir = format!("server.auth.keys_dir={:?}", keys.to_str().unwrap());
    let none = server.run(&["token", "issue", "alice", "--keys", keys.to_str().unwrap()]);
    assert_eq!(none.code, Some(1));
    server.ok(&["keys", "rotate", "--keys", keys.to_str().unwrap()]);
    let folder = server.folder();
    let alice = token(folder, &server, &["alice", "--org", "acme"]);
    let bob = token(folder, &server, &["bob"]);

    let (mut serving, address) = serve(&server, &["--set", &keys_dir]);
    let stranger = Caller::new(&address);
    let ready = || match stranger.get("a") {
        Err(status) if status.code() == Code::Unauthenticated => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("strangers are refused", PATIENCE, ready);
    let alice_calls = Caller::new(&address).with_token(&alice);
    alice_calls.set("a", "of acme").unwrap();
    let bob_calls = Caller::new(&address).with_token(&bob);
    assert_eq!(bob_calls.get("a").unwrap(), None);

    // A client that can send no token goes through `isa connect`.
    let connected = isa();
    let token_file = connected.folder().join("token");
    fs::write(&token_file, &alice).unwrap();
    let connect = connected.start(&[
        "connect",
        &address,
        "--only",
        "redis",
        "--free-ports",
        "--token-file",
        "token",
        "-o",
        "json",
    ]);
    let here = eventually("isa connects", PATIENCE, || {
        let out = connect.stdout();
        let parsed: Result<Value, _> = serde_json::from_str(&out);
        parsed
            .ok()
            .and_then(|it| it["redis"].as_str().map(str::to_owned))
            .ok_or_else(|| format!("{out}{}", connect.stderr()))
    });
    let through = Caller::new(&here);
    assert_eq!(through.get("a").unwrap().as_deref(), Some("of acme"));

    // A new key, and the old one removed: its tokens end, and new ones are good, without a restart.
    let keep_none = ["keys", "rotate", "--keep", "0", "--keys", keys.to_str().unwrap()];
    server.ok(&keep_none);
    eventually("the old key is gone", PATIENCE, || match alice_calls.get("a") {
        Err(status) if status.code() == Code::Unauthenticated => Ok(()),
        other => Err(format!("{other:?}")),
    });
    fs::write(&token_file, token(folder, &server, &["alice", "--org", "acme"])).unwrap();
    eventually("the new token is taken", PATIENCE, || match through.get("a") {
        Ok(Some(value)) if value == "of acme" => Ok(()),
        other => Err(format!("{other:?}")),
    });

    // An API key, and the public halves of the keys alone.
    assert_eq!(connect.stop(), Some(0));
    let public = server.folder().join("public");
    server.ok(&[
        "keys",
        "publish",
        public.to_str().unwrap(),
        "--keys",
        keys.to_str().unwrap(),
    ]);
    let pem = fs::read_dir(&public).unwrap().next().unwrap().unwrap().path();
    assert!(
        fs::read_to_string(pem)
            .unwrap()
            .starts_with("-----BEGIN PUBLIC KEY")
    );
    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.wait(), Some(0));
}

#[test]
fn limits_change_without_a_restart() {
    let engines = isa();
    let _up = engines.up(&["--only", "redis", "--set", "services=[]"]);
    let mut server = isa();
    at_redis(&mut server, &engines);
    let file = server.folder().join("isa.toml");
    let limits = |calls: u32| {
        let text = format!(
            "[server.auth]\nmode = 'open'\n[server.limits.default]\ncalls_per_second = {calls}\nburst = {calls}\n"
        );
        fs::write(&file, text).unwrap();
    };
    limits(1000);
    let (serving, address) = serve(&server, &[]);
    let caller = Caller::new(&address);
    eventually("calls are answered", PATIENCE, || {
        caller.get("a").map_err(|e| e.to_string())
    });
    limits(1);
    eventually("calls are limited", PATIENCE, || match caller.get("a") {
        Err(status) if status.code() == Code::ResourceExhausted => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // What cannot be used is told, and the old stays.
    fs::write(&file, "[server.limits.default]\ncalls = 1\n").unwrap();
    eventually("the mistake is told", PATIENCE, || {
        let said = serving.stderr();
        if said.contains("calls") { Ok(()) } else { Err(said) }
    });
    limits(1000);
    serving.signal(Signal::SIGHUP);
    eventually("calls are answered again", PATIENCE, || {
        (0..5)
            .try_for_each(|_| caller.get("a").map(drop))
            .map_err(|e| e.to_string())
    });
    assert_eq!(serving.stop(), Some(0));
}
