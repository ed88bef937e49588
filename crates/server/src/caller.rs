//! Who asks, and for which tenant.

use std::{collections::BTreeSet, fmt, sync::Arc};

use isa_proto::{Error, ErrorCode, Identity};
use sha2::{Digest, Sha256};

use crate::ServiceKind;

/// Lets its holder act for others: gateways have it.
pub const ACT_AS: &str = "act-as";

/// Who asks on an open server that was told nothing.
pub const DEFAULT_USER: &str = "default_user";

/// What the published client says of itself when its user said nothing. It names nobody: to a server that takes the
/// caller from a token these are as good as empty.
const PLACEHOLDERS: [&str; 3] = [DEFAULT_USER, "default-org", "default_org"];

/// Longest name of a user or an organization, in bytes.
const MAX_NAME: usize = 256;

/// Whose data it is: an organization, or a user where there is none. An organization and a user of the same name
/// are two tenants.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant {
    name: Arc<str>,
    slug: Arc<str>,
}

impl Tenant {
    pub fn organization(id: &str) -> Self {
        Self::named(format!("org:{id}"))
    }

    pub fn user(id: &str) -> Self {
        Self::named(format!("user:{id}"))
    }

    fn named(name: String) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        Self {
            slug: hex::encode(&digest[..10]).into(),
            name: name.into(),
        }
    }

    /// `org:acme` or `user:alice`, for people and configuration. May hold any character.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// 20 hexadecimal digits that no other tenant has: good as a part of any engine's names.
    pub fn slug(&self) -> &str {
        &self.slug
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name, f)
    }
}

/// Who asks. Made in one place, of a token, an API key, or on an open server of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user or program.
    pub subject: String,
    pub tenant: Tenant,
    pub roles: BTreeSet<String>,
    pub scopes: BTreeSet<String>,
    /// Who acts for the subject, by the scope `act-as`.
    pub actor: Option<String>,
    /// Nobody was checked: the server is open, and everybody may do everything.
    pub open: bool,
    /// The organization is not known: the server is open and the request has no place for it, or nothing there.
    unnamed_organization: bool,
}

impl Caller {
    /// A caller that was checked.
    pub fn new(subject: impl Into<String>, organization: Option<&str>) -> Self {
        let subject = subject.into();
        let organization = organization.filter(|id| !id.is_empty());
        Self {
            tenant: organization.map_or_else(|| Tenant::user(&subject), Tenant::organization),
            subject,
            roles: BTreeSet::new(),
            scopes: BTreeSet::new(),
            actor: None,
            open: false,
            unnamed_organization: false,
        }
    }

    /// The caller that a request to an open server names.
    pub fn open(identity: &Identity<'_>, kind: ServiceKind, method: &str) -> Result<Self, Error> {
        let user = check_name("user_id", identity.user_id)?.unwrap_or(DEFAULT_USER);
        let organization = check_name("organization_id", identity.organization_id)?
            .filter(|_| !named_tenant_is_user(kind, method));
        let mut caller = Self::new(user, organization);
        caller.open = true;
        caller.unnamed_organization = organization.is_none();
        Ok(caller)
    }

    /// The caller of one request if it is another than this: whom the request names, where this may act for others.
    /// What a request names must otherwise be its caller's own.
    pub fn acting_for(
        &self,
        identity: &Identity<'_>,
        kind: ServiceKind,
        method: &str,
    ) -> Result<Option<Self>, Error> {
        let user = somebody("user_id", identity.user_id)?.filter(|user| *user != self.subject);
        let organization = somebody("organization_id", identity.organization_id)?
            .filter(|id| self.tenant.name().strip_prefix("org:") != Some(*id));
        if user.is_none() && organization.is_none() {
            return Ok(None);
        }
        if !self.scopes.contains(ACT_AS) {
            let field = if user.is_some() {
                "user_id"
            } else {
                "organization_id"
            };
            return Err(Error::new(
                ErrorCode::PermissionDenied,
                format!("{field}: is not the caller's own; leave it empty, or call with a token that has the scope {ACT_AS:?}"),
            )
            .in_field(field));
        }
        let organization = organization.filter(|_| !named_tenant_is_user(kind, method));
        if user.is_none() && organization.is_none() {
            return Ok(None);
        }
        let mut caller = self.clone();
        caller.actor = Some(self.subject.clone());
        if let Some(user) = user {
            caller.subject = user.to_owned();
        }
        caller.tenant = match organization {
            Some(id) => Tenant::organization(id),
            None if self.tenant.name().starts_with("org:") => self.tenant.clone(),
            None => Tenant::user(&caller.subject),
        };
        Ok(Some(caller))
    }

    /// Whether a scope was given. On an open server, every one.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.open || self.scopes.contains(scope)
    }

    /// Fails with PERMISSION_DENIED, naming the scope, unless it was given.
    pub fn require_scope(&self, scope: &str) -> Result<(), Error> {
        if self.has_scope(scope) {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::PermissionDenied,
            format!("this call needs the scope {scope:?}, which the token does not have"),
        )
        .with("scope", scope))
    }

    /// Whether this tenant's things are the caller's. For ids that carry their tenant, where calls on them have no
    /// organization: an open server then believes the id.
    pub fn may_see(&self, slug: &str) -> bool {
        self.tenant.slug() == slug || (self.open && self.unnamed_organization)
    }
}

/// Whether the tenant that a call names is its `user_id` alone: on an open server, and for who acts for others.
///
/// The published client names an organization in some calls of these and not in others on the same thing: were
/// that believed, it would not find what it wrote.
fn named_tenant_is_user(kind: ServiceKind, method: &str) -> bool {
    match kind {
        ServiceKind::Minio | ServiceKind::Duckdb | ServiceKind::Mqtt => true,
        ServiceKind::Redis => method.contains("Session"),
        ServiceKind::Loki
        | ServiceKind::Nats
        | ServiceKind::Postgres
        | ServiceKind::Qdrant
        | ServiceKind::Neo4j => false,
    }
}

/// `None` if it is empty, or says as much.
fn somebody<'a>(field: &'static str, name: &'a str) -> Result<Option<&'a str>, Error> {
    Ok(check_name(field, name)?.filter(|name| !PLACEHOLDERS.contains(name)))
}

/// `None` if it is empty.
fn check_name<'a>(field: &'static str, name: &'a str) -> Result<Option<&'a str>, Error> {
    if name.len() > MAX_NAME {
        return Err(Error::invalid(
            field,
            format!("has {} bytes, and may have {MAX_NAME}", name.len()),
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid(field, "has control characters"));
    }
    Ok((!name.is_empty()).then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(user_id: &'a str, organization_id: &'a str) -> Identity<'a> {
        Identity {
            user_id,
            organization_id,
            ..Identity::default()
        }
    }

    #[test]
    fn the_contract_has_every_service() {
        for kind in ServiceKind::ALL {
            let service = kind.grpc_service();
            assert!(
                isa_proto::METHODS.iter().any(|method| method.service == service),
                "{kind}"
            );
        }
    }

    #[test]
    fn an_open_server_believes_the_request() {
        let open = |kind, method, user, organization| {
            let caller = Caller::open(&names(user, organization), kind, method).unwrap();
            (caller.subject, caller.tenant.to_string())
        };
        let expect = |subject: &str, tenant: &str| (subject.to_owned(), tenant.to_owned());
        assert_eq!(open(ServiceKind::Redis, "Get", "a", "o"), expect("a", "org:o"));
        assert_eq!(open(ServiceKind::Redis, "Get", "a", ""), expect("a", "user:a"));
        assert_eq!(
            open(ServiceKind::Redis, "CreateSession", "a", "o"),
            expect("a", "user:a")
        );
        assert_eq!(
            open(ServiceKind::Minio, "CreateBucket", "a", "o"),
            expect("a", "user:a")
        );
        assert_eq!(
            open(ServiceKind::Postgres, "Query", "", ""),
            expect(DEFAULT_USER, "user:default_user")
        );
    }

    #[test]
    fn a_checked_caller_is_itself() {
        let caller = Caller::new("a", Some("o"));
        for own in [names("", ""), names("a", "o"), names(DEFAULT_USER, "default-org")] {
            assert_eq!(caller.acting_for(&own, ServiceKind::Redis, "Get").unwrap(), None);
        }
        for (other, field) in [(names("b", ""), "user_id"), (names("", "p"), "organization_id")] {
            let error = caller
                .acting_for(&other, ServiceKind::Minio, "CreateBucket")
                .unwrap_err();
            assert_eq!(error.code(), ErrorCode::PermissionDenied);
            assert!(error.message().starts_with(field), "{error}");
        }
        let user = Caller::new("a", None);
        assert!(
            user.acting_for(&names("", "a"), ServiceKind::Redis, "Get")
                .is_err()
        );
    }

    #[test]
    fn who_may_act_for_others_does() {
        let mut gateway = Caller::new("gateway", None);
        gateway.scopes.insert(ACT_AS.into());
        let named = |kind, user, organization| {
            let caller = gateway
                .acting_for(&names(user, organization), kind, "Any")
                .unwrap()?;
            assert_eq!(caller.actor.as_deref(), Some("gateway"));
            Some((caller.subject, caller.tenant.to_string()))
        };
        let expect = |subject: &str, tenant: &str| Some((subject.to_owned(), tenant.to_owned()));
        assert_eq!(named(ServiceKind::Redis, "b", "p"), expect("b", "org:p"));
        assert_eq!(named(ServiceKind::Redis, "b", ""), expect("b", "user:b"));
        // As on an open server: what a call names must be one tenant with what the next one can name.
        assert_eq!(named(ServiceKind::Mqtt, "b", "p"), expect("b", "user:b"));
        assert_eq!(named(ServiceKind::Mqtt, "", "p"), None);
    }

    #[test]
    fn who_acts_for_others_within_an_organization_stays_there() {
        let mut gateway = Caller::new("gateway", Some("o"));
        gateway.scopes.insert(ACT_AS.into());
        let caller = gateway
            .acting_for(&names("b", "p"), ServiceKind::Mqtt, "RegisterDevice")
            .unwrap()
            .unwrap();
        assert_eq!((caller.subject.as_str(), caller.tenant.name()), ("b", "org:o"));
    }

    #[test]
    fn an_organization_is_not_a_user_of_its_name() {
        assert_ne!(Tenant::organization("a").slug(), Tenant::user("a").slug());
        assert_eq!(Tenant::user("a").slug().len(), 20);
    }

    #[test]
    fn names_that_cannot_be_are_refused_by_field() {
        let long = "x".repeat(MAX_NAME + 1);
        for identity in [names(&long, ""), names("a\nb", "")] {
            let error = Caller::open(&identity, ServiceKind::Redis, "Get").unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().starts_with("user_id"), "{error}");
        }
    }
}
