//! Says what keeps pods from being ready: causes, with evidence and what to do; consequences are folded into them.

mod cluster;
mod containers;
mod creation;
mod scheduling;
mod services;
mod snapshot;
mod storage;

use std::collections::BTreeMap;

use serde::Serialize;

pub use snapshot::Snapshot;

use crate::{
    Error,
    objects::{ObjectName, age},
    pods::{PodState, is_over},
};

/// How long something may take before its taking long is worth a word, in seconds.
const PATIENCE: u64 = 60;

/// The kind of a cause, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    Access,
    NoNamespace,
    Node,
    Storage,
    Creation,
    Scheduling,
    Image,
    Configuration,
    Crash,
    OutOfMemory,
    NotReady,
    Selector,
    Unknown,
}

impl Cause {
    /// Whether somebody has to do something before it passes.
    pub(crate) fn lasts(self) -> bool {
        match self {
            Self::Access
            | Self::NoNamespace
            | Self::Storage
            | Self::Creation
            | Self::Image
            | Self::Configuration => true,
            // Nodes come back and are added, and what crashes may wait for something that is still starting.
            Self::Node
            | Self::Scheduling
            | Self::Crash
            | Self::OutOfMemory
            | Self::NotReady
            | Self::Selector
            | Self::Unknown => false,
        }
    }
}

/// Something that is wrong, and what it entails.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub object: ObjectName,
    pub cause: Cause,
    pub problem: String,
    /// What was seen: messages, numbers, the last lines of a log.
    pub evidence: Vec<String>,
    /// What to do about it.
    pub next: Vec<String>,
    /// What else is not well because of it.
    pub affects: Vec<String>,
}

/// What was found out about a namespace.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Diagnosis {
    pub findings: Vec<Finding>,
    /// Pods that are on their way.
    pub starting: Vec<String>,
    /// The workloads that causes keep from being ready.
    #[serde(skip)]
    pub(crate) held: BTreeMap<ObjectName, Cause>,
}

impl Diagnosis {
    /// What is wrong when the cluster cannot be asked.
    pub fn of_error(error: &Error) -> Self {
        Self {
            findings: vec![cluster::as_finding(error)],
            ..Self::default()
        }
    }
}

/// Findings under construction: equal causes become one, and it is known which pods a cause keeps down.
#[derive(Default)]
struct Findings {
    all: Vec<Finding>,
    by_key: BTreeMap<String, usize>,
    by_pod: BTreeMap<String, usize>,
    held: BTreeMap<ObjectName, Cause>,
}

impl Findings {
    /// Adds a finding, or its object to what an equal one affects. `key` says which are equal.
    fn add(&mut self, key: String, finding: Finding) -> usize {
        if let Some(&index) = self.by_key.get(&key) {
            let object = finding.object.to_string();
            self.affect(index, object);
            return index;
        }
        self.all.push(finding);
        self.by_key.insert(key, self.all.len() - 1);
        self.all.len() - 1
    }

    fn affect(&mut self, index: usize, what: String) {
        let finding = &mut self.all[index];
        if finding.object.to_string() != what && !finding.affects.contains(&what) {
            finding.affects.push(what);
        }
    }

    /// Says that a cause keeps a pod of a workload down.
    fn blames(&mut self, pod: &str, workload: ObjectName, index: usize) {
        self.by_pod.insert(pod.to_owned(), index);
        self.held.insert(workload, self.all[index].cause);
    }

    fn of_pod(&self, pod: &str) -> Option<usize> {
        self.by_pod.get(pod).copied()
    }
}

/// Reads what a snapshot says.
pub fn diagnose(seen: &Snapshot) -> Diagnosis {
    let mut findings = Findings::default();
    if !seen.exists {
        cluster::missing_namespace(seen, &mut findings);
        return Diagnosis {
            findings: findings.all,
            ..Diagnosis::default()
        };
    }
    // Causes before what they entail.
    cluster::nodes(seen, &mut findings);
    storage::claims(seen, &mut findings);
    creation::refused(seen, &mut findings);
    scheduling::pods(seen, &mut findings);
    containers::pods(seen, &mut findings);
    services::without_endpoints(seen, &mut findings);
    let starting = unexplained(seen, &mut findings);
    findings.all.sort_by_key(|f| f.cause);
    Diagnosis {
        findings: findings.all,
        starting,
        held: findings.held,
    }
}

/// Pods that are not ready for no reason that is known yet: on their way, or a finding when that takes too long.
fn unexplained(seen: &Snapshot, findings: &mut Findings) -> Vec<String> {
    let mut starting = Vec::new();
    for pod in seen.pods.iter().filter(|pod| !is_over(pod)) {
        let state = PodState::of(pod, seen.now);
        if state.ready || findings.of_pod(&state.name).is_some() {
            continue;
        }
        let events = seen.warnings(pod.metadata.uid.as_deref());
        if state.age.as_secs() < PATIENCE
            || containers::running_for(pod, seen.now).is_some_and(|s| s < PATIENCE)
        {
            starting.push(format!("{} ({}, {})", state.name, state.doing, age(state.age)));
            continue;
        }
        let doing = if state.doing == "ending" {
            "does not end".to_owned()
        } else {
            format!("is not ready ({})", state.doing)
        };
        let object = ObjectName::new("Pod", &state.name);
        let finding = Finding {
            problem: format!(
                "{doing} after {}, and nothing that isa knows of explains it",
                age(state.age)
            ),
            evidence: events,
            next: vec![
                format!("kubectl -n {} describe pod {}", seen.namespace, state.name),
                format!(
                    "kubectl -n {} logs {} --all-containers",
                    seen.namespace, state.name
                ),
            ],
            affects: Vec::new(),
            cause: Cause::Unknown,
            object,
        };
        let index = findings.add(format!("unknown {}", state.name), finding);
        findings.blames(&state.name, seen.workload_of(pod), index);
    }
    starting
}

#[cfg(test)]
mod tests;
