//! `isa token`

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use chrono::{Days, Utc};
use isa_config::Config;
use isa_server::{ApiKey, ApiKeyFile, Audience, Claims, issue_token, new_api_key};

use super::keys;
use crate::{
    cli::{Bearer, Token, TokenApiKey, TokenIssue},
    output::{say, tell},
};

pub(super) fn run(config: &Config, command: &Token) -> anyhow::Result<ExitCode> {
    match command {
        Token::Issue(options) => issue(config, options)?,
        Token::ApiKey(options) => api_key(config, options)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn issue(config: &Config, options: &TokenIssue) -> anyhow::Result<()> {
    let bearer = checked(&options.bearer)?;
    let auth = &config.server.auth;
    let claims = Claims {
        sub: bearer.subject.clone(),
        org: bearer.org.clone(),
        roles: bearer.roles.iter().cloned().collect(),
        scope: bearer.scopes.join(" "),
        iss: auth.issuer.clone(),
        aud: auth.audience.clone().map(Audience::One),
        iat: None,
        exp: 0,
    };
    let folder = keys::folder(config, options.keys.as_ref())?;
    say!(
        "{}",
        issue_token(&folder, claims, Duration::from_secs(options.lifetime))?
    );
    Ok(())
}

fn api_key(config: &Config, options: &TokenApiKey) -> anyhow::Result<()> {
    let bearer = checked(&options.bearer)?;
    let configured = options
        .file
        .as_ref()
        .or(config.server.auth.api_keys_file.as_ref());
    let file =
        configured.context("name the file of API keys with --file, or set server.auth.api_keys_file")?;
    let mut all: ApiKeyFile = match fs::read_to_string(file) {
        Ok(text) => {
            toml::from_str(&text).with_context(|| format!("{} is no file of API keys", file.display()))?
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => ApiKeyFile::default(),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", file.display())),
    };
    if all.keys.iter().any(|key| key.name == options.name) {
        bail!(
            "{} has a key named {:?} already; choose another name, or remove that one",
            file.display(),
            options.name
        );
    }
    let (key, sha256) = new_api_key();
    let expires = options.days.map(|days| Utc::now() + Days::new(days.into()));
    all.keys.push(ApiKey {
        name: options.name.clone(),
        sha256,
        subject: bearer.subject.clone(),
        organization: bearer.org.clone(),
        roles: bearer.roles.iter().cloned().collect(),
        scopes: bearer.scopes.iter().cloned().collect(),
        expires,
    });
    replace(file, &toml::to_string_pretty(&all)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    say!("{key}");
    tell!(
        "this is shown once; its hash is in {}, which servers take by themselves",
        file.display()
    );
    Ok(())
}

fn checked(bearer: &Bearer) -> anyhow::Result<&Bearer> {
    if bearer.subject.is_empty() || bearer.org.as_deref() == Some("") {
        bail!("the subject and the organization must not be empty");
    }
    if let Some(scope) = bearer
        .scopes
        .iter()
        .find(|s| s.is_empty() || s.contains(char::is_whitespace))
    {
        bail!("{scope:?} is no scope: name each with a --scope of its own");
    }
    Ok(bearer)
}

/// Whole or not at all: servers read the file at any time.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let staged = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&staged)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(staged, path)
}
