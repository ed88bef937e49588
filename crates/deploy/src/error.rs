use std::{
    io,
    path::{Path, PathBuf},
};

use kube::core::Status;

use crate::objects::ObjectName;

/// Why something could not be done. Every message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no overlay {name:?}; {}", known_overlays(.known.as_deref()))]
    NoOverlay {
        name: String,
        /// Those of the project around the working folder, if it is in one.
        known: Option<Vec<String>>,
    },
    #[error("{0} is not an overlay: it has no kustomization.yaml; name a folder that has one")]
    NotAnOverlay(PathBuf),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{what} is not the YAML that was expected")]
    Yaml {
        what: String,
        source: serde_yaml_ng::Error,
    },

    #[error(
        "the overlay generates a Secret {0:?}, which isa does not know; its values must come from somewhere else"
    )]
    UnknownSecret(String),
    #[error(
        "the overlay reads a Secret from {0}; isa keeps such files in the overlay's folder `secrets`, name it there"
    )]
    SecretElsewhere(PathBuf),
    #[error("the overlay has no Secret {name:?} to rotate; its Secrets are {known}")]
    NothingToRotate { name: String, known: String },
    #[error("nothing was written: git would add {0}; list its folder in .gitignore first")]
    GitWouldAdd(PathBuf),
    #[error(
        "nothing was written: git tracks {0}; `git rm --cached` it first, and rotate the values that it held"
    )]
    GitTracks(PathBuf),
    #[error(
        "cannot find out whether git ignores {0}, so nothing is written there; does `git status` work in this folder?"
    )]
    GitCannotTell(PathBuf),

    #[error("cannot run {program}; is it kubectl? `isa engines install kubectl` installs it")]
    Kubectl { program: PathBuf, source: io::Error },
    #[error("overlay {overlay} cannot be rendered: {why}; {hint}")]
    Render {
        overlay: String,
        why: String,
        hint: String,
    },
    #[error("{object} is not what its kind says")]
    Manifest {
        object: ObjectName,
        source: serde_json::Error,
    },
    #[error("{0} has no apiVersion or kind")]
    NoKind(ObjectName),

    #[error("kubeconfig {files} cannot be used: {why}; correct it, or name another with KUBECONFIG")]
    Kubeconfig { files: String, why: String },
    #[error(
        "there is no kubeconfig {0}, and this is not a pod of a cluster; make a cluster, for instance with `kind create cluster --name isa-cloud-local --config deployments/kubernetes/kind-config.yaml`, or name a kubeconfig with KUBECONFIG"
    )]
    NoKubeconfig(String),
    #[error("kubeconfig {files} has no current context; choose one with --context: {known}")]
    NoContext { files: String, known: String },
    #[error("kubeconfig {files} has no context {name:?}; its contexts are {known}")]
    UnknownContext {
        name: String,
        files: String,
        known: String,
    },
    #[error(
        "the API server {server} ({origin}) cannot be reached: {why}; does the cluster run, and is this its address?"
    )]
    Unreachable {
        server: String,
        origin: String,
        why: String,
    },
    #[error(
        "the API server {server} shows a certificate that {origin} does not trust: {why}; its certificate-authority-data must be that of this cluster"
    )]
    Certificate {
        server: String,
        origin: String,
        why: String,
    },
    #[error(
        "the API server {server} does not accept the credentials of {origin}: they are wrong or have expired; log in again, or take a fresh kubeconfig"
    )]
    Credentials { server: String, origin: String },
    #[error("cannot get credentials for {origin}: {why}; the kubeconfig names the program that makes them")]
    Login { origin: String, why: String },
    #[error("{origin} may not {what}: {why}; ask whoever runs the cluster for that right")]
    Forbidden {
        what: String,
        why: String,
        origin: String,
    },
    #[error("cannot {what}: {why}; `isa deploy` makes the namespace")]
    NoNamespace { what: String, why: String },
    #[error("the API server refuses to {what}: {}", .status.message)]
    Refused { what: String, status: Box<Status> },
    #[error(
        "the API server refuses to {what}: {}; such a field cannot be changed: delete the object and keep its pods and claims with `kubectl delete --cascade=orphan`, then deploy again",
        .status.message
    )]
    Immutable { what: String, status: Box<Status> },
    #[error("the API server {server} knows no kind {kind} of {version}; install what defines it first{}", operator(.kind))]
    UnknownKind {
        kind: String,
        version: String,
        server: String,
    },
    #[error("{0}")]
    Conflict(crate::apply::Conflict),
    #[error("cannot see whether {object} is gone: {why}; run the same command again")]
    Waiting { object: ObjectName, why: String },
    #[error(
        "{object} is still there{}; it goes when its pods have ended: `kubectl get pods` shows which do not", held_by(.finalizers)
    )]
    StillThere { object: ObjectName, finalizers: String },
    #[error("cannot listen on 127.0.0.1 to forward a port")]
    Listen(#[source] io::Error),
}

impl Error {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }
}

fn known_overlays(known: Option<&[String]>) -> String {
    match known {
        None => "no folder from here upwards has deployments/kubernetes/overlays: go into the project, or give a path".into(),
        Some([]) => "deployments/kubernetes/overlays is empty".into(),
        Some(names) => format!("the overlays are {}", names.join(", ")),
    }
}

fn operator(kind: &str) -> &'static str {
    match kind {
        "ExternalSecret" | "SecretStore" | "ClusterSecretStore" => " (the External Secrets Operator)",
        _ => "",
    }
}

fn held_by(names: &str) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!(", held by {names}")
    }
}
