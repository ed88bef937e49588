use isa_config::{Config, EngineKind};

use super::Error;
use crate::{
    catalog::{Catalog, Entry, Source, catalog},
    locate::{Located, locate, locate_java},
};

/// What there is to install.
#[derive(Debug, Default)]
pub struct Plan {
    /// In the order to show them; what is installed already may be among them when it was asked for by name.
    pub install: Vec<&'static Entry>,
    /// Engines that are missing and that no registry has, each with what to do about it.
    pub elsewhere: Vec<(&'static Entry, &'static str)>,
}

impl Plan {
    fn add(&mut self, entry: &'static Entry, config: &Config) {
        match &entry.source {
            Source::BuiltIn => return,
            Source::Elsewhere(elsewhere) => {
                self.elsewhere.push((entry, &elsewhere.how));
                return;
            }
            _ => {}
        }
        if !self.install.iter().any(|other| other.name == entry.name) {
            self.install.push(entry);
        }
        if entry.engine == Some(EngineKind::Neo4j) && locate_java(config).is_none() {
            self.install.extend(catalog().get("java"));
        }
    }
}

/// What `isa engines install NAME…` installs. Names are those of engines, which mean the configured implementation or
/// the default one, and of implementations. Without names: whatever the configuration wants and this machine lacks.
pub fn plan(config: &Config, names: &[String]) -> Result<Plan, Error> {
    let catalog = catalog();
    let mut plan = Plan::default();
    for name in names {
        plan.add(named(config, catalog, name)?, config);
    }
    if names.is_empty() {
        for kind in EngineKind::ALL {
            let wanted =
                config.engine(kind).enabled && matches!(locate(config, kind), Located::Missing { .. });
            if let Some(entry) = wanted
                .then(|| catalog.implementation(kind, config.implementation(kind)))
                .flatten()
            {
                plan.add(entry, config);
            }
        }
    }
    Ok(plan)
}

fn named(config: &Config, catalog: &'static Catalog, name: &str) -> Result<&'static Entry, Error> {
    let engine = name.parse::<EngineKind>().ok();
    let entry = match engine {
        Some(kind) => catalog.implementation(kind, config.implementation(kind)),
        None => catalog.get(name),
    };
    entry.ok_or_else(|| {
        let mut known: Vec<_> = EngineKind::ALL.iter().map(|kind| kind.name()).collect();
        known.extend(
            catalog
                .entries()
                .iter()
                .map(|e| e.name.as_str())
                .filter(|n| n.parse::<EngineKind>().is_err()),
        );
        Error::Unknown {
            name: name.to_owned(),
            known: known.join(", "),
        }
    })
}
