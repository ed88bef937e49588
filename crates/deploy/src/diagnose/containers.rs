//! Containers that cannot start, end, or never become ready.

use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod},
    jiff::Timestamp,
};
use kube::ResourceExt;

use super::{
    Cause, Finding, Findings, Snapshot,
    snapshot::{message, moment},
};
use crate::{
    objects::{ObjectName, shorten, since},
    pods::{containers, is_over, is_ready, statuses},
    secrets::Spec,
};

/// How long a running container may take to become ready before a failing probe is worth a word, in seconds.
const PROBING: u64 = 30;
/// The cluster's name in `kind`, by the platform's contract.
const KIND_CLUSTER: &str = "isa-cloud-local";
/// How the staging images are called.
const OUR_IMAGES: &str = "staging-isa-";

/// A container that is not well.
struct Case<'a> {
    seen: &'a Snapshot,
    pod: &'a Pod,
    workload: ObjectName,
    status: &'a ContainerStatus,
    init: bool,
}

pub(super) fn pods(seen: &Snapshot, findings: &mut Findings) {
    for pod in &seen.pods {
        let name = pod.name_any();
        if is_ready(pod) || pod.metadata.deletion_timestamp.is_some() || findings.of_pod(&name).is_some() {
            continue;
        }
        let found = if is_over(pod) {
            evicted(seen, pod)
        } else {
            not_ready(seen, pod)
        };
        let Some((key, finding)) = found else { continue };
        let index = findings.add(key, finding);
        findings.affect(index, format!("Pod {name}"));
        findings.blames(&name, seen.workload_of(pod), index);
    }
}

type Keyed = (String, Finding);

fn not_ready(seen: &Snapshot, pod: &Pod) -> Option<Keyed> {
    let workload = seen.workload_of(pod);
    for status in statuses(pod) {
        let init = containers(pod).any(|(c, init)| init && c.name == status.name);
        let case = Case {
            seen,
            pod,
            workload: workload.clone(),
            status,
            init,
        };
        if let Some(found) = case.waiting().or_else(|| case.ended()).or_else(|| case.probes()) {
            return Some(found);
        }
    }
    mount(seen, pod, workload)
}

impl Case<'_> {
    fn what(&self) -> String {
        let kind = if self.init { "init container" } else { "container" };
        format!("{kind} {}", self.status.name)
    }

    fn finding(&self, cause: Cause, problem: String, evidence: Vec<String>, next: Vec<String>) -> Finding {
        Finding {
            object: self.workload.clone(),
            cause,
            problem,
            evidence: evidence.into_iter().filter(|line| !line.is_empty()).collect(),
            next,
            affects: Vec::new(),
        }
    }

    /// It cannot be started.
    fn waiting(&self) -> Option<Keyed> {
        let waiting = self.status.state.as_ref()?.waiting.as_ref()?;
        let said = shorten(
            &waiting.message.clone().unwrap_or_default().replace('\n', " "),
            500,
        );
        let image = self.image();
        let image_problem = match waiting.reason.as_deref()? {
            "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ImageInspectError" => {
                format!("the image {image} cannot be pulled")
            }
            "ErrImageNeverPull" => {
                format!("the image {image} is not on the node, and imagePullPolicy Never forbids to pull it")
            }
            "InvalidImageName" => format!("{image:?} is no name of an image"),
            "CreateContainerConfigError" | "CreateContainerError" => {
                let problem = format!("{} cannot be made: {}", self.what(), configuration(&said));
                let next = self.configure(&said);
                let finding = self.finding(Cause::Configuration, problem, vec![said], next);
                return Some((
                    format!("configuration {} {}", self.workload, self.status.name),
                    finding,
                ));
            }
            _ => return None,
        };
        // "Back-off pulling image" says less than the attempt before it.
        let mut evidence = vec![said];
        let events = self.seen.events_of(self.pod.metadata.uid.as_deref());
        let pulled = events
            .iter()
            .find(|e| e.message.as_ref().is_some_and(|m| m.contains("Failed to pull")));
        if evidence.iter().all(|line| line.len() < 80)
            && let Some(event) = pulled
        {
            evidence.insert(0, message(event));
        }
        let finding = self.finding(Cause::Image, image_problem, evidence, load(&image));
        Some((format!("image {image}"), finding))
    }

    fn image(&self) -> String {
        let named = containers(self.pod).find(|(c, _)| c.name == self.status.name);
        named
            .and_then(|(c, _)| c.image.clone())
            .unwrap_or_else(|| self.status.image.clone())
    }

    fn configure(&self, said: &str) -> Vec<String> {
        let secret = said.to_lowercase().contains("secret ");
        if secret {
            return secrets_next(said);
        }
        if said.contains("configmap") || said.contains("ConfigMap") {
            return vec!["deploy again: the ConfigMap comes with the manifests".into()];
        }
        vec![format!("correct {} in {}", self.what(), self.workload)]
    }

    /// It has started and ended.
    fn ended(&self) -> Option<Keyed> {
        let ended = last_end(self.status)?;
        let restarts = self.status.restart_count;
        let (what, code) = (self.what(), ended.exit_code);
        let reason = ended.reason.as_deref().unwrap_or_default();
        let key = |cause: &str| format!("{cause} {} {}", self.workload, self.status.name);
        // Evidence, and no part of the problem, which stays the same while they grow.
        let again = match restarts {
            0 => None,
            1 => Some("it was restarted once".to_owned()),
            n => Some(format!("it was restarted {n} times")),
        };
        let log = self
            .seen
            .logs
            .get(&(self.pod.name_any(), self.status.name.clone()));
        let log = log.cloned().unwrap_or_default();
        if reason == "OOMKilled" {
            let limit = containers(self.pod)
                .find(|(c, _)| c.name == self.status.name)
                .and_then(|(c, _)| {
                    c.resources
                        .as_ref()?
                        .limits
                        .as_ref()?
                        .get("memory")
                        .map(|q| q.0.clone())
                });
            let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
            let problem = format!("{what} was killed because it needs more memory than its limit{limit}");
            let next = vec![format!("raise limits.memory of {what} in {}", self.workload)];
            return Some((
                key("memory"),
                self.finding(
                    Cause::OutOfMemory,
                    problem,
                    log.into_iter().chain(again).collect(),
                    next,
                ),
            ));
        }
        let kubectl = format!(
            "kubectl -n {} logs {} -c {} --previous",
            self.seen.namespace,
            self.pod.name_any(),
            self.status.name
        );
        if matches!(reason, "StartError" | "ContainerCannotRun") {
            let said = ended.message.clone().unwrap_or_default();
            // The runtime wraps it in the names of every layer.
            let said = said.rfind("exec: ").map_or(said.as_str(), |at| &said[at..]);
            let problem = format!("the command of {what} cannot be run");
            let next = vec![format!(
                "correct command and args of {what} in {}, or the image",
                self.workload
            )];
            let evidence = std::iter::once(shorten(said, 400)).chain(again).collect();
            return Some((key("crash"), self.finding(Cause::Crash, problem, evidence, next)));
        }
        if let Some(found) = self.killed_by_probe(code, again.as_ref(), &log) {
            return Some((key("probe"), found));
        }
        let problem = format!("{what} {}", exit(code));
        let mut evidence = log;
        evidence.extend(ended.message.clone().map(|m| shorten(&m, 300)));
        if evidence.is_empty() {
            evidence.push("it wrote nothing to its log".into());
        }
        evidence.extend(again);
        let next = vec![format!("its last lines say why; the whole log: {kubectl}")];
        Some((key("crash"), self.finding(Cause::Crash, problem, evidence, next)))
    }

    /// The kubelet ends a container whose liveness or startup probe fails.
    fn killed_by_probe(&self, code: i32, again: Option<&String>, log: &[String]) -> Option<Finding> {
        if !matches!(code, 0 | 1 | 2 | 130 | 137 | 143) {
            return None;
        }
        let events = self.seen.events_of(self.pod.metadata.uid.as_deref());
        let killed = self.seen.events.iter().any(|e| {
            e.involved_object.uid == self.pod.metadata.uid
                && e.reason.as_deref() == Some("Killing")
                && e.message
                    .as_ref()
                    .is_some_and(|m| m.contains(&self.status.name) && m.contains("probe"))
        });
        let probe = events.iter().find(|e| {
            let text = e.message.as_deref().unwrap_or_default();
            text.starts_with("Liveness probe") || text.starts_with("Startup probe")
        });
        let probe = probe.filter(|_| killed)?;
        let problem = format!("{} is restarted because its probe fails", self.what());
        let evidence = std::iter::once(message(probe))
            .chain(log.iter().chain(again).cloned())
            .collect();
        let next = vec![format!(
            "see why it does not answer, or give the probe of {} more time",
            self.workload
        )];
        Some(self.finding(Cause::NotReady, problem, evidence, next))
    }

    /// It runs, and its probes say no.
    fn probes(&self) -> Option<Keyed> {
        let running = self.status.state.as_ref()?.running.as_ref()?;
        if self.init
            || self.status.ready
            || since(running.started_at.as_ref(), self.seen.now).as_secs() < PROBING
        {
            return None;
        }
        let events = self.seen.events_of(self.pod.metadata.uid.as_deref());
        let unhealthy = events.iter().find(|e| {
            e.reason.as_deref() == Some("Unhealthy") && moment(e) >= running.started_at.as_ref().map(|t| t.0)
        })?;
        let said = message(unhealthy);
        let kind = said.split(" probe").next().unwrap_or_default().to_lowercase();
        let problem = format!("{} runs, but its {kind} probe fails", self.what());
        let name = self.pod.name_any();
        let next = vec![format!(
            "kubectl -n {} logs {name} -c {}",
            self.seen.namespace, self.status.name
        )];
        let finding = self.finding(Cause::NotReady, problem, vec![said], next);
        Some((format!("probe {} {}", self.workload, self.status.name), finding))
    }
}

fn secrets_next(said: &str) -> Vec<String> {
    let mut names = said.split(['"', ' ', '/', ':']);
    if names.any(|name| Spec::named(name).is_some()) {
        vec![
            "isa secrets generate OVERLAY, then isa deploy OVERLAY".into(),
            "in production: kubectl get externalsecrets says which one has not been fetched".into(),
        ]
    } else {
        vec!["make the Secret, or the key in it, that the message names".into()]
    }
}

/// Where an image comes from that cannot be pulled.
fn load(image: &str) -> Vec<String> {
    let name = image.rsplit('/').next().unwrap_or(image);
    let service = name
        .strip_prefix(OUR_IMAGES)
        .and_then(|rest| rest.split(':').next());
    match service {
        Some(service) => vec![
            format!("isa images build {service} && isa images load {service} --into kind"),
            format!("or: kind load docker-image {image} --name {KIND_CLUSTER}"),
        ],
        None => vec![
            "is the name right, does the registry have it, and may the node pull it (imagePullSecrets)?"
                .into(),
            format!("an image of this machine: kind load docker-image {image} --name {KIND_CLUSTER}"),
        ],
    }
}

/// The kubelet's words without what it wraps them in.
fn configuration(said: &str) -> String {
    if said.contains("runAsNonRoot") {
        return "its image runs as root, and runAsNonRoot forbids that; give runAsUser".into();
    }
    said.to_owned()
}

/// How a container ended for the last time, if that was no good end.
fn last_end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let state = status.state.as_ref()?;
    if state.running.is_some() && status.restart_count == 0 {
        return None;
    }
    let now = state.terminated.as_ref();
    let before = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let ended = now.or(before)?;
    let waits = state.waiting.as_ref().and_then(|w| w.reason.as_deref());
    // An end with 0 is a failure only where it goes on.
    let fine = ended.exit_code == 0 && waits != Some("CrashLoopBackOff");
    // It runs again: whether it is well now its probes say.
    (!fine && state.running.is_none()).then_some(ended)
}

/// The containers of a pod whose logs say why they ended.
pub(super) fn crashed(pod: &Pod) -> Vec<(String, String)> {
    let bad = statuses(pod).into_iter().filter(|s| last_end(s).is_some());
    bad.map(|s| (pod.name_any(), s.name.clone())).collect()
}

/// For how many seconds the youngest container of a pod has been running.
pub(super) fn running_for(pod: &Pod, now: Timestamp) -> Option<u64> {
    let started = statuses(pod)
        .into_iter()
        .filter_map(|s| s.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    started.map(|t| since(Some(t), now).as_secs()).min()
}

fn exit(code: i32) -> String {
    match code {
        0 => "exits by itself with code 0, and it must go on running".into(),
        126 => "exits with code 126: its command is not executable".into(),
        127 => "exits with code 127: a command that it runs does not exist".into(),
        129..=159 => {
            let signal = code - 128;
            let name = match signal {
                4 => " (illegal instruction: built for another CPU?)",
                6 => " (it aborted)",
                9 => " (killed)",
                11 => " (segmentation fault)",
                15 => " (asked to end)",
                _ => "",
            };
            format!("ends by signal {signal}{name}")
        }
        code => format!("exits with code {code}"),
    }
}

/// A volume that cannot be mounted, most often a Secret or ConfigMap that is not there.
fn mount(seen: &Snapshot, pod: &Pod, workload: ObjectName) -> Option<Keyed> {
    if statuses(pod)
        .iter()
        .any(|s| s.state.as_ref().is_some_and(|s| s.running.is_some()))
    {
        return None;
    }
    let events = seen.events_of(pod.metadata.uid.as_deref());
    let failed = events
        .iter()
        .filter(|e| matches!(e.reason.as_deref(), Some("FailedMount" | "FailedAttachVolume")))
        // "timed out waiting for the condition" comes after the reason and does not repeat it.
        .min_by_key(|e| message(e).contains("timed out waiting"))?;
    let said = message(failed);
    let missing = said.contains("not found") || said.contains("non-existent");
    let cause = if missing {
        Cause::Configuration
    } else {
        Cause::Storage
    };
    let next = if said.contains("secret") {
        secrets_next(&said)
    } else if said.contains("configmap") {
        vec!["deploy again: the ConfigMap comes with the manifests".into()]
    } else {
        vec![format!(
            "kubectl -n {} describe pod {}",
            seen.namespace,
            pod.name_any()
        )]
    };
    let short = said.rsplit(" : ").next().unwrap_or(&said).to_owned();
    let finding = Finding {
        object: workload.clone(),
        cause,
        problem: format!("a volume of its pod cannot be mounted: {short}"),
        evidence: vec![said],
        next,
        affects: Vec::new(),
    };
    Some((format!("mount {workload} {short}"), finding))
}

/// A pod that its node threw out; of interest while nothing has taken its place.
fn evicted(seen: &Snapshot, pod: &Pod) -> Option<Keyed> {
    let status = pod.status.as_ref()?;
    let reason = status
        .reason
        .as_deref()
        .filter(|_| status.phase.as_deref() == Some("Failed"))?;
    let workload = seen.workload_of(pod);
    if seen
        .pods
        .iter()
        .any(|other| is_ready(other) && seen.workload_of(other) == workload)
    {
        return None;
    }
    let finding = Finding {
        object: workload.clone(),
        cause: Cause::Node,
        problem: format!("its pod was ended by the node: {reason}"),
        evidence: status.message.iter().map(|m| shorten(m, 300)).collect(),
        next: vec![match reason {
            "Evicted" => "the node ran short of what the message names: raise the pod's request for it, so that it is placed where there is enough".to_owned(),
            _ => format!("kubectl -n {} describe pod {}", seen.namespace, pod.name_any()),
        }],
        affects: Vec::new(),
    };
    Some((format!("evicted {workload}"), finding))
}
