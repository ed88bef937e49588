//! `isa config check|dump`

use std::process::ExitCode;

use crate::cli::{ConfigCommand, Global};
use crate::output::say;

pub(super) fn run(global: &Global, command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    let mut config = super::load(global, &super::Own::default())?;
    match command {
        ConfigCommand::Check => say!("configuration is fine"),
        ConfigCommand::Dump => {
            for engine in config.engines.values_mut() {
                if engine.password.is_some() {
                    engine.password = Some(isa_config::Secret::new("***"));
                }
                if let Some(url) = engine.url.as_mut().filter(|url| url.password().is_some()) {
                    // A URL that has a password can have another.
                    let _ = url.set_password(Some("***"));
                }
            }
            if let Some(consul) = &mut config.server.consul
                && consul.token.is_some()
            {
                consul.token = Some(isa_config::Secret::new("***"));
            }
            say!("{}", toml::to_string_pretty(&config)?.trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}
