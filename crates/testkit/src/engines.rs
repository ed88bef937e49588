use isa_config::{Endpoint, Endpoints, EngineKind};

use crate::Isa;

/// Engines for tests of what is built on them. They stop when this is dropped.
pub struct Engines {
    isa: Isa,
    endpoints: Endpoints,
}

impl Engines {
    /// Starts these engines alone, and waits until they answer.
    ///
    /// # Panics
    /// When one of them cannot be had or does not start.
    pub fn start(kinds: &[EngineKind]) -> Self {
        let mut isa = Isa::built();
        for kind in EngineKind::ALL {
            let name = format!("ISA_ENGINES__{}__ENABLED", kind.name().to_uppercase());
            isa.env(&name, kinds.contains(&kind).to_string());
        }
        isa.env("ISA_SERVICES", "[]");
        isa.ok(&["up", "--free-ports", "--detach"]);
        let endpoints = isa.endpoints();
        Self { isa, endpoints }
    }

    /// Where an engine answers.
    ///
    /// # Panics
    /// When it is none of those that were started.
    pub fn endpoint(&self, kind: EngineKind) -> Endpoint {
        self.endpoints[&kind].clone()
    }

    /// All of them.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The program that runs them, for `isa restart`, `isa status` and so on.
    pub fn isa(&self) -> &Isa {
        &self.isa
    }
}
