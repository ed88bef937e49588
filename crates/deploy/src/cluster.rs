//! The way to a cluster, and errors that say which one and what to do.

use std::{collections::HashMap, env, path::PathBuf, time::Duration};

use kube::{
    Api, Client, Config, Error as KubeError,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
    core::{ApiResource, DynamicObject, GroupVersionKind, NamespaceResourceScope},
    discovery::{self, Scope},
};
use serde::de::DeserializeOwned;
use tokio::{sync::Mutex, time::timeout};

use crate::{Error, objects::name_of};

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long the API server may take for one answer.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The namespace of every overlay but production.
pub const NAMESPACE: &str = "isa-cloud-staging";

/// A cluster that has answered.
pub struct Cluster {
    pub(crate) client: Client,
    at: Place,
    /// Its version, as in `v1.34.0`.
    pub version: String,
    kinds: Mutex<HashMap<GroupVersionKind, (ApiResource, Scope)>>,
}

/// Which cluster is meant, for messages.
#[derive(Debug, Clone)]
pub struct Place {
    /// Address of the API server.
    pub server: String,
    /// Where the address and the credentials come from.
    pub origin: String,
}

impl Cluster {
    /// Connects by the kubeconfig (`KUBECONFIG`, or `~/.kube/config`), or inside a pod by its service account.
    pub async fn connect(context: Option<&str>) -> Result<Self, Error> {
        let (mut config, origin) = configuration(context).await?;
        config.connect_timeout = Some(CONNECT_LIMIT);
        let at = Place {
            server: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
            origin,
        };
        let client = Client::try_from(config).map_err(|e| at.explain("connect", e))?;
        let version = at
            .within("ask for the version", client.apiserver_version())
            .await?;
        Ok(Self {
            client,
            at,
            version: version.git_version,
            kinds: Mutex::default(),
        })
    }

    pub fn place(&self) -> &Place {
        &self.at
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Asks, and waits no longer than the limit for the answer.
    pub(crate) fn within<T>(
        &self,
        what: &str,
        asked: impl Future<Output = Result<T, KubeError>>,
    ) -> impl Future<Output = Result<T, Error>> {
        self.at.within(what, asked)
    }

    pub(crate) fn explain(&self, what: &str, error: KubeError) -> Error {
        self.at.explain(what, error)
    }

    /// Where objects like this one are asked for.
    pub(crate) async fn api_of(&self, object: &DynamicObject) -> Result<Api<DynamicObject>, Error> {
        let types = object.types.clone().unwrap_or_default();
        let gvk = GroupVersionKind::try_from(&types).map_err(|_| Error::NoKind(name_of(object)))?;
        let known = self.kinds.lock().await.get(&gvk).cloned();
        let (resource, scope) = match known {
            Some(known) => known,
            None => {
                let what = format!("look up the kind {}", gvk.kind);
                let found = timeout(ANSWER_LIMIT, discovery::pinned_kind(&self.client, &gvk)).await;
                let (resource, capabilities) = match found {
                    Ok(Ok(found)) => found,
                    Ok(Err(error)) if unknown_kind(&error) => {
                        return Err(Error::UnknownKind {
                            kind: gvk.kind.clone(),
                            version: gvk.api_version(),
                            server: self.at.server.clone(),
                        });
                    }
                    Ok(Err(error)) => return Err(self.explain(&what, error)),
                    Err(_) => return Err(self.at.silent(&what)),
                };
                let found = (resource, capabilities.scope);
                self.kinds.lock().await.insert(gvk, found.clone());
                found
            }
        };
        Ok(match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => {
                let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            }
        })
    }

    /// Lists what may be forbidden to see; `None` then.
    pub(crate) async fn list_if_allowed<K>(&self, what: &str, api: Api<K>) -> Result<Option<Vec<K>>, Error>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        match self
            .within(&format!("list {what}"), api.list(&Default::default()))
            .await
        {
            Ok(list) => Ok(Some(list.items)),
            Err(Error::Forbidden { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

fn unknown_kind(error: &KubeError) -> bool {
    match error {
        KubeError::Api(status) => status.is_not_found(),
        KubeError::Discovery(_) => true,
        _ => false,
    }
}

async fn configuration(context: Option<&str>) -> Result<(Config, String), Error> {
    let files = kubeconfig_files();
    let kubeconfig = match Kubeconfig::read() {
        Ok(kubeconfig) => kubeconfig,
        Err(KubeconfigError::FindPath) => return in_cluster(context, &files),
        Err(KubeconfigError::ReadConfig(e, _)) if e.kind() == std::io::ErrorKind::NotFound => {
            return in_cluster(context, &files);
        }
        Err(source) => {
            return Err(Error::Kubeconfig {
                files,
                why: reason(&source),
            });
        }
    };
    let name = context
        .map(str::to_owned)
        .or_else(|| kubeconfig.current_context.clone());
    let known: Vec<_> = kubeconfig.contexts.iter().map(|c| c.name.clone()).collect();
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(Error::NoContext {
            files,
            known: known.join(", "),
        });
    };
    if !known.contains(&name) {
        return Err(Error::UnknownContext {
            name,
            files,
            known: known.join(", "),
        });
    }
    let options = KubeConfigOptions {
        context: Some(name.clone()),
        ..Default::default()
    };
    let origin = format!("context {name} of {files}");
    match Config::from_custom_kubeconfig(kubeconfig, &options).await {
        Ok(config) => Ok((config, origin)),
        Err(source) => Err(Error::Kubeconfig {
            files,
            why: reason(&source),
        }),
    }
}

/// Why a kubeconfig cannot be used. The parser would quote the lines around a mistake, and with them credentials.
fn reason(error: &KubeconfigError) -> String {
    let whole = with_causes(error);
    whole.lines().next().unwrap_or_default().to_owned()
}

fn in_cluster(context: Option<&str>, files: &str) -> Result<(Config, String), Error> {
    if let Some(name) = context {
        return Err(Error::UnknownContext {
            name: name.to_owned(),
            files: files.to_owned(),
            known: "none, the file does not exist".into(),
        });
    }
    let config = Config::incluster().map_err(|_| Error::NoKubeconfig(files.to_owned()))?;
    Ok((config, "the service account of this pod".into()))
}

fn kubeconfig_files() -> String {
    let named = env::var_os("KUBECONFIG").filter(|v| !v.is_empty());
    let files = named.unwrap_or_else(|| {
        let home = env::var_os("HOME").map_or_else(|| PathBuf::from("~"), PathBuf::from);
        home.join(".kube/config").into_os_string()
    });
    files.to_string_lossy().into_owned()
}

impl Place {
    async fn within<T>(
        &self,
        what: &str,
        asked: impl Future<Output = Result<T, KubeError>>,
    ) -> Result<T, Error> {
        match timeout(ANSWER_LIMIT, asked).await {
            Ok(answer) => answer.map_err(|e| self.explain(what, e)),
            Err(_) => Err(self.silent(what)),
        }
    }

    fn silent(&self, what: &str) -> Error {
        Error::Unreachable {
            server: self.server.clone(),
            origin: self.origin.clone(),
            why: format!("no answer in {} s to: {what}", ANSWER_LIMIT.as_secs()),
        }
    }

    /// Turns what the client says into what is wrong and what to do.
    fn explain(&self, what: &str, error: KubeError) -> Error {
        let (server, origin) = (self.server.clone(), self.origin.clone());
        match error {
            KubeError::Api(status) => match status.code {
                401 => Error::Credentials { server, origin },
                403 if forbidden_by_rbac(&status.message) => Error::Forbidden {
                    what: what.to_owned(),
                    why: status.message.clone(),
                    origin,
                },
                404 if status.message.contains("namespaces \"") => Error::NoNamespace {
                    what: what.to_owned(),
                    why: status.message.clone(),
                },
                _ => Error::Refused {
                    what: what.to_owned(),
                    status,
                },
            },
            KubeError::Auth(error) => Error::Login {
                origin,
                why: with_causes(&error),
            },
            KubeError::InferKubeconfig(source) => Error::Kubeconfig {
                files: origin,
                why: reason(&source),
            },
            other => {
                let why = with_causes(&other);
                if why.contains("certificate") || why.contains("UnknownIssuer") {
                    Error::Certificate { server, origin, why }
                } else {
                    Error::Unreachable { server, origin, why }
                }
            }
        }
    }
}

/// Admission refuses with the same code as missing rights do, but only the latter names a user and a verb.
fn forbidden_by_rbac(message: &str) -> bool {
    message.contains(" cannot ") && message.contains("resource ")
}

/// An error and its causes, each once.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    // What the client calls the layer below it tells nobody anything.
    let mut text = error.to_string().trim_start_matches("ServiceError: ").to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
