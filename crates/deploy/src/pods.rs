//! What a pod is doing, in a few words.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Container, ContainerState, ContainerStatus, Pod},
    jiff::Timestamp,
};
use kube::ResourceExt;
use serde::Serialize;

use crate::objects::since;

/// One pod as progress and status show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodState {
    pub name: String,
    pub ready: bool,
    /// `pulling its image`, `starting`, `ready`, `CrashLoopBackOff` …
    pub doing: String,
    /// Whether that is something that does not pass by itself.
    pub stuck: bool,
    pub restarts: i32,
    #[serde(skip)]
    pub age: Duration,
}

impl PodState {
    pub(crate) fn of(pod: &Pod, now: Timestamp) -> Self {
        let (doing, stuck) = doing(pod);
        Self {
            name: pod.name_any(),
            ready: is_ready(pod),
            doing,
            stuck,
            restarts: statuses(pod).iter().map(|s| s.restart_count).sum(),
            age: since(pod.metadata.creation_timestamp.as_ref(), now),
        }
    }
}

fn doing(pod: &Pod) -> (String, bool) {
    let says = |text: &str| (text.to_owned(), false);
    if pod.metadata.deletion_timestamp.is_some() {
        return says("ending");
    }
    let status = pod.status.clone().unwrap_or_default();
    match status.phase.as_deref() {
        Some("Succeeded") => return says("done"),
        Some("Failed") => return (status.reason.unwrap_or_else(|| "failed".into()), true),
        _ => {}
    }
    if is_ready(pod) {
        return says("ready");
    }
    if !condition(pod, "PodScheduled") {
        return says("waiting for a node");
    }
    let wrong = statuses(pod)
        .into_iter()
        .find_map(|s| s.state.as_ref().and_then(trouble));
    if let Some(reason) = wrong {
        return (reason, true);
    }
    let init = status.init_container_statuses.unwrap_or_default();
    let done = init.iter().filter(|s| succeeded(s)).count();
    if done < init.len() {
        let running = init
            .iter()
            .any(|s| s.state.as_ref().is_some_and(|s| s.running.is_some()));
        if running {
            return (format!("init {} of {}", done + 1, init.len()), false);
        }
    }
    let containers = status.container_statuses.unwrap_or_default();
    if containers
        .iter()
        .any(|s| s.state.as_ref().is_some_and(|s| s.running.is_some()))
    {
        says("starting")
    } else {
        says("creating its containers")
    }
}

/// Why a container cannot run, unless that passes by itself.
fn trouble(state: &ContainerState) -> Option<String> {
    if let Some(ended) = &state.terminated
        && ended.exit_code != 0
    {
        return Some(ended.reason.clone().unwrap_or_else(|| "Error".into()));
    }
    let reason = state.waiting.as_ref()?.reason.clone()?;
    (!matches!(reason.as_str(), "ContainerCreating" | "PodInitializing")).then_some(reason)
}

fn succeeded(status: &ContainerStatus) -> bool {
    let state = status.state.clone().unwrap_or_default();
    state.terminated.is_some_and(|t| t.exit_code == 0)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && condition(pod, "Ready")
}

/// Whether a condition of a pod holds.
pub(crate) fn condition(pod: &Pod, kind: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|c| c.type_ == kind && c.status == "True")
}

/// Whether the pod's work is over: it neither is nor becomes ready.
pub(crate) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The states of all containers, those that run first first.
pub(crate) fn statuses(pod: &Pod) -> Vec<&ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|s| s.init_container_statuses.as_ref());
    let main = status.and_then(|s| s.container_statuses.as_ref());
    init.into_iter().chain(main).flatten().collect()
}

/// The containers of a pod, those that run first first, and whether each is an init container.
pub(crate) fn containers(pod: &Pod) -> impl Iterator<Item = (&Container, bool)> {
    let spec = pod.spec.as_ref();
    let init = spec.into_iter().flat_map(|s| s.init_containers.iter().flatten());
    let main = spec.into_iter().flat_map(|s| &s.containers);
    init.map(|c| (c, true)).chain(main.map(|c| (c, false)))
}
