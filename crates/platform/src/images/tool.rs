//! What container tools do for us: build an image, take one.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{Definition, Error};
use crate::install::{
    Reporter,
    tool::{Stream, Tool},
};

const BUILD_LIMIT: Duration = Duration::from_secs(3600);
const LOAD_LIMIT: Duration = Duration::from_secs(600);

/// Builds images from the folders in `deployments/images`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    Docker,
    Podman,
}

impl Builder {
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    fn how(self) -> &'static str {
        match self {
            Self::Docker => DOCKER_HOW,
            Self::Podman => PODMAN_HOW,
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Docker => DOCKER_HINT,
            Self::Podman => PODMAN_HINT,
        }
    }

    /// Builds the image, saves it to `archive` and returns its id.
    pub(super) async fn build(
        self,
        definition: &Definition,
        sources: &Path,
        archive: &Path,
        reporter: &Reporter<'_>,
    ) -> Result<String, Error> {
        let folder = sources.join(&definition.service);
        let reference = definition.reference();
        reporter.message(format!("building with {}", self.name()));
        let mut build = Command::new(self.name());
        build.args([
            "build",
            "--platform",
            "linux/amd64",
            "--tag",
            &reference,
            "--file",
        ]);
        build
            .arg(folder.join("Containerfile"))
            .arg(folder.join(&definition.context));
        self.tool(format!("build {reference}"), BUILD_LIMIT)
            .run(build, |_, line| reporter.message(line))
            .await?;

        let mut inspect = Command::new(self.name());
        inspect.args(["image", "inspect", "--format", "{{.Id}}", &reference]);
        let mut id = String::new();
        self.tool(format!("look at {reference}"), LOAD_LIMIT)
            .run(inspect, |stream, line| {
                if stream == Stream::Out {
                    line.clone_into(&mut id);
                }
            })
            .await?;

        let mut save = Command::new(self.name());
        save.args(["save", "--output"]).arg(archive).arg(&reference);
        self.tool(format!("save {reference}"), LOAD_LIMIT)
            .run(save, |_, _| {})
            .await?;
        Ok(if id.contains(':') {
            id
        } else {
            format!("sha256:{id}")
        })
    }

    fn tool(self, doing: String, limit: Duration) -> Tool {
        Tool {
            name: self.name(),
            doing,
            limit,
            how: self.how(),
            hint: self.hint(),
        }
    }
}

/// Takes images from archives.
#[derive(Debug, Clone)]
pub enum Loader {
    Docker,
    Podman,
    /// The nodes of a kind cluster.
    Kind {
        cluster: String,
    },
    /// A containerd by its socket, where a kubelet finds the image.
    Containerd {
        socket: PathBuf,
    },
}

impl Loader {
    pub(super) async fn load(
        &self,
        reference: &str,
        archive: &Path,
        reporter: &Reporter<'_>,
    ) -> Result<(), Error> {
        let (name, how, hint) = match self {
            Self::Docker => ("docker", DOCKER_HOW, DOCKER_HINT),
            Self::Podman => ("podman", PODMAN_HOW, PODMAN_HINT),
            Self::Kind { .. } => (
                "kind",
                "install kind (https://kind.sigs.k8s.io), or load with --into docker or podman",
                "see whether `kind get clusters` lists the cluster; make it with `kind create cluster --config deployments/kubernetes/kind-config.yaml`",
            ),
            Self::Containerd { .. } => (
                "ctr",
                "install containerd, which has it",
                "see whether containerd runs and whether --socket names its socket; only root may use it",
            ),
        };
        let mut command = Command::new(name);
        match self {
            Self::Docker | Self::Podman => command.args(["load", "--input"]).arg(archive),
            Self::Kind { cluster } => command
                .args(["load", "image-archive", "--name", cluster])
                .arg(archive),
            Self::Containerd { socket } => command
                .arg("--address")
                .arg(socket)
                .args(["--namespace", "k8s.io", "images", "import"])
                .arg(archive),
        };
        reporter.message(format!("loading with {name}"));
        let tool = Tool {
            name,
            doing: format!("load {reference}"),
            limit: LOAD_LIMIT,
            how,
            hint,
        };
        Ok(tool.run(command, |_, _| {}).await?)
    }
}

const DOCKER_HOW: &str = "install Docker, or use podman, or pack the images without either: isa images build";
const DOCKER_HINT: &str =
    "see whether `docker info` reaches a running Docker; images can be packed without one: isa images build";
const PODMAN_HOW: &str = "install podman, or use docker, or pack the images without either: isa images build";
const PODMAN_HINT: &str =
    "see whether `podman info` works; images can be packed without it: isa images build";
