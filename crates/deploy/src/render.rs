//! Manifests of an overlay, as `kubectl kustomize` renders them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    core::v1::{PersistentVolumeClaim, PodSpec},
};
use kube::{ResourceExt, core::DynamicObject};
use serde::Deserialize;
use tokio::{process::Command, time::timeout};

use crate::{Error, Overlay, secrets};

/// How long rendering may take. It reads a few dozen files.
const LIMIT: Duration = Duration::from_secs(60);

/// What an overlay renders to.
#[derive(Debug, Clone)]
pub struct Manifests {
    pub overlay: String,
    pub objects: Vec<DynamicObject>,
}

/// A manifest that keeps pods running.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) app: String,
    pub(crate) tier: String,
    /// None for a DaemonSet, which has one on each node.
    pub(crate) replicas: Option<i32>,
    pub(crate) pod: PodSpec,
    pub(crate) claims: Vec<PersistentVolumeClaim>,
}

/// Renders an overlay with the secrets that its files hold.
pub async fn render(kubectl: &Path, overlay: &Overlay) -> Result<Manifests, Error> {
    run(kubectl, &overlay.path, overlay).await
}

/// Renders an overlay without looking at its secrets, which need not be there.
pub async fn render_without_secrets(kubectl: &Path, overlay: &Overlay) -> Result<Manifests, Error> {
    let (Some(tree), true) = (overlay.tree(), secrets::from_files(overlay)?) else {
        return render(kubectl, overlay).await;
    };
    let staged = tempfile::tempdir().map_err(|e| Error::write(&std::env::temp_dir(), e))?;
    copy(&tree, staged.path())?;
    let path = overlay
        .path
        .canonicalize()
        .map_err(|e| Error::read(&overlay.path, e))?;
    let inside = path.strip_prefix(&tree).unwrap_or(&path);
    let path = staged.path().join(inside);
    secrets::write_placeholders(&Overlay {
        name: overlay.name.clone(),
        path: path.clone(),
    })?;
    run(kubectl, &path, overlay).await
}

async fn run(kubectl: &Path, path: &Path, overlay: &Overlay) -> Result<Manifests, Error> {
    let mut command = Command::new(kubectl);
    command.arg("kustomize").arg(path);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(source)) => {
            return Err(Error::Kubectl {
                program: kubectl.to_owned(),
                source,
            });
        }
        Err(_) => {
            return Err(Error::Render {
                overlay: overlay.name.clone(),
                why: format!("kubectl kustomize did not end in {} s", LIMIT.as_secs()),
                hint: "is the overlay on a slow disk, or does it name a remote base?".into(),
            });
        }
    };
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.trim().trim_start_matches("error: ").to_owned();
        let missing = why.contains("secrets/") && (why.contains(".env") || why.contains(secrets::TOKEN_KEYS));
        return Err(Error::Render {
            overlay: overlay.name.clone(),
            hint: if missing {
                format!("make the values with `isa secrets generate {}`", overlay.name)
            } else {
                format!("`kubectl kustomize {}` shows the same", overlay.path.display())
            },
            why,
        });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(Manifests {
        overlay: overlay.name.clone(),
        objects: parse(&text, &overlay.name)?,
    })
}

fn parse(text: &str, overlay: &str) -> Result<Vec<DynamicObject>, Error> {
    let mut objects = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let object: Option<DynamicObject> = Option::deserialize(document).map_err(|source| Error::Yaml {
            what: format!("what overlay {overlay} renders to"),
            source,
        })?;
        objects.extend(object);
    }
    Ok(objects)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(from).map_err(|e| Error::read(from, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::read(from, e))?.path();
        let target: PathBuf = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            if !secrets::is_folder_of(&path) {
                fs::create_dir(&target).map_err(|e| Error::write(&target, e))?;
                copy(&path, &target)?;
            }
        } else {
            fs::copy(&path, &target).map_err(|e| Error::write(&target, e))?;
        }
    }
    Ok(())
}

impl Manifests {
    /// The manifests without these systems, by their label `app`.
    #[must_use]
    pub fn without(mut self, systems: &[String]) -> Self {
        self.objects.retain(|object| {
            let app = object.labels().get("app");
            app.is_none_or(|app| !systems.contains(app))
        });
        self
    }

    /// The systems that the manifests are of.
    pub fn systems(&self) -> Vec<String> {
        let apps = self.objects.iter().filter_map(|o| o.labels().get("app").cloned());
        let mut apps: Vec<_> = apps.collect();
        apps.sort();
        apps.dedup();
        apps
    }

    /// The namespaces that objects are in.
    pub fn namespaces(&self) -> Vec<String> {
        let mut all: Vec<_> = self.objects.iter().filter_map(ResourceExt::namespace).collect();
        all.sort();
        all.dedup();
        all
    }

    pub(crate) fn workloads(&self) -> Result<Vec<Workload>, Error> {
        let workloads = self.objects.iter().map(Workload::of);
        workloads.filter_map(Result::transpose).collect()
    }
}

impl Workload {
    /// None where the object runs no pods.
    pub(crate) fn of(object: &DynamicObject) -> Result<Option<Self>, Error> {
        let label = |name: &str| object.labels().get(name).cloned().unwrap_or_else(|| "-".into());
        let make = |kind, replicas, pod: Option<PodSpec>, claims: Option<Vec<PersistentVolumeClaim>>| Self {
            kind,
            name: object.name_any(),
            namespace: object.namespace(),
            app: object
                .labels()
                .get("app")
                .cloned()
                .unwrap_or_else(|| object.name_any()),
            tier: label("tier"),
            replicas,
            pod: pod.unwrap_or_default(),
            claims: claims.unwrap_or_default(),
        };
        let kind = object.types.as_ref().map_or("", |t| t.kind.as_str());
        Ok(match kind {
            "StatefulSet" => {
                let spec = typed::<StatefulSet>(object)?.spec;
                let replicas = Some(spec.replicas.unwrap_or(1));
                Some(make(
                    "StatefulSet",
                    replicas,
                    spec.template.spec,
                    spec.volume_claim_templates,
                ))
            }
            "Deployment" => {
                let spec = typed::<Deployment>(object)?.spec;
                Some(make(
                    "Deployment",
                    Some(spec.replicas.unwrap_or(1)),
                    spec.template.spec,
                    None,
                ))
            }
            "DaemonSet" => {
                let spec = typed::<DaemonSet>(object)?.spec;
                Some(make("DaemonSet", None, spec.template.spec, None))
            }
            _ => None,
        })
    }
}

/// An object as its type; a field of the wrong type is named.
pub(crate) fn typed<T: for<'a> Deserialize<'a>>(object: &DynamicObject) -> Result<T, Error> {
    let value = serde_json::to_value(object);
    value
        .and_then(serde_json::from_value)
        .map_err(|source| Error::Manifest {
            object: crate::objects::name_of(object),
            source,
        })
}
