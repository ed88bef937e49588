//! How much each tenant may ask of a service: calls a second, and calls at once.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use isa_proto::{Error, ErrorCode};
use parking_lot::RwLock;

use crate::Tenant;
use isa_config::{LimitsConfig, TenantLimits};

/// Tenants remembered at once. Beyond, those that are idle are forgotten: each then begins with a full burst.
const REMEMBERED: usize = 20_000;

/// The limits of one service.
pub(crate) struct Limiter {
    config: ArcSwap<LimitsConfig>,
    tenants: RwLock<HashMap<Tenant, Arc<Account>>>,
    clock: DefaultClock,
}

/// What a tenant has used.
struct Account {
    limits: TenantLimits,
    rate: Option<DefaultDirectRateLimiter>,
    running: Arc<Running>,
    /// Since idle tenants were last forgotten.
    used: AtomicBool,
}

#[derive(Debug, Default)]
struct Running {
    calls: AtomicU32,
    streams: AtomicU32,
}

/// A call's place among those that run. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    running: Arc<Running>,
    stream: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.running.of(self.stream).fetch_sub(1, Relaxed);
    }
}

impl Running {
    fn of(&self, stream: bool) -> &AtomicU32 {
        if stream { &self.streams } else { &self.calls }
    }
}

impl Limiter {
    pub(crate) fn new(config: LimitsConfig) -> Self {
        Self {
            config: ArcSwap::from_pointee(config),
            tenants: RwLock::default(),
            clock: DefaultClock::default(),
        }
    }

    /// From now on. Running calls keep their places.
    pub(crate) fn reload(&self, config: LimitsConfig) {
        self.config.store(Arc::new(config));
        let config = self.config.load();
        for (tenant, account) in self.tenants.write().iter_mut() {
            let limits = limits(&config, tenant);
            if limits != account.limits {
                *account = Arc::new(Account::new(limits, Arc::clone(&account.running)));
            }
        }
    }

    pub(crate) fn admit(&self, tenant: &Tenant, stream: bool) -> Result<Permit, Error> {
        let account = self.account(tenant);
        account.used.store(true, Relaxed);
        let limits = &account.limits;
        let (most, what) = if stream {
            (limits.concurrent_streams, "streams")
        } else {
            (limits.concurrent_calls, "calls")
        };
        let place = account.running.of(stream);
        let before = place.fetch_add(1, Relaxed);
        // Made before the checks: gives the place back if one of them fails.
        let permit = Permit {
            running: Arc::clone(&account.running),
            stream,
        };
        if most != 0 && before >= most {
            return Err(Error::new(
                ErrorCode::TooManyCalls,
                format!("the tenant has {most} {what} running, which is its limit; wait for one to end"),
            )
            .with("limit", most));
        }
        if let Some(rate) = &account.rate
            && let Err(not_until) = rate.check()
        {
            return Err(Error::new(
                ErrorCode::RateLimited,
                format!(
                    "the tenant may make {} calls a second, and has made more; slow down",
                    limits.calls_per_second
                ),
            )
            .with("limit", limits.calls_per_second)
            .retry_in(not_until.wait_time_from(self.clock.now())));
        }
        Ok(permit)
    }

    fn account(&self, tenant: &Tenant) -> Arc<Account> {
        if let Some(account) = self.tenants.read().get(tenant) {
            return Arc::clone(account);
        }
        let mut tenants = self.tenants.write();
        if tenants.len() >= REMEMBERED {
            tenants.retain(|_, account| account.used.swap(false, Relaxed) || account.is_running());
        }
        if tenants.len() >= REMEMBERED {
            // All are busy, which is more than a server has: better forgotten than out of memory.
            tenants.retain(|_, account| account.is_running());
        }
        let account = tenants.entry(tenant.clone()).or_insert_with(|| {
            let limits = limits(&self.config.load(), tenant);
            Arc::new(Account::new(limits, Arc::default()))
        });
        Arc::clone(account)
    }
}

impl Account {
    fn new(limits: TenantLimits, running: Arc<Running>) -> Self {
        let burst = NonZeroU32::new(limits.burst).unwrap_or(NonZeroU32::MIN);
        Self {
            rate: NonZeroU32::new(limits.calls_per_second)
                .map(|rate| RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))),
            limits,
            running,
            used: AtomicBool::new(true),
        }
    }

    fn is_running(&self) -> bool {
        self.running.calls.load(Relaxed) + self.running.streams.load(Relaxed) > 0
    }
}

fn limits(config: &LimitsConfig, tenant: &Tenant) -> TenantLimits {
    config
        .tenants
        .get(tenant.name())
        .copied()
        .unwrap_or(config.default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(calls_per_second: u32, concurrent_calls: u32) -> LimitsConfig {
        let default = TenantLimits {
            calls_per_second,
            burst: 2,
            concurrent_calls,
            concurrent_streams: 1,
        };
        LimitsConfig {
            default,
            ..LimitsConfig::default()
        }
    }

    #[test]
    fn tenants_are_counted_apart_and_told_when_to_come_back() {
        let limiter = Limiter::new(config(1, 0));
        let (a, b) = (Tenant::user("a"), Tenant::user("b"));
        for _ in 0..2 {
            limiter.admit(&a, false).expect("within the burst");
        }
        let error = limiter.admit(&a, false).expect_err("beyond the burst");
        assert_eq!(error.code(), ErrorCode::RateLimited);
        assert!(
            error.retry_after().is_some_and(|wait| wait.as_millis() <= 1000),
            "{error:?}"
        );
        assert!(limiter.admit(&b, false).is_ok());
        limiter.reload(config(0, 0));
        assert!(limiter.admit(&a, false).is_ok());
    }

    #[test]
    fn places_come_back_and_survive_a_reload() {
        let limiter = Limiter::new(config(0, 1));
        let tenant = Tenant::user("a");
        let first = limiter.admit(&tenant, false).expect("the first");
        assert!(limiter.admit(&tenant, true).is_ok(), "streams are counted apart");
        for _ in 0..3 {
            let error = limiter.admit(&tenant, false).expect_err("one runs");
            assert_eq!(error.code(), ErrorCode::TooManyCalls);
        }
        limiter.reload(config(0, 2));
        let _second = limiter.admit(&tenant, false).expect("two may run now");
        assert!(limiter.admit(&tenant, false).is_err(), "the first still counts");
        drop(first);
        assert!(limiter.admit(&tenant, false).is_ok());
    }
}
