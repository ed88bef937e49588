//! Tenants' roles and schemas, and what everybody may read of the database itself.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::RwLock;
use tokio_postgres::Client;

use super::Error;
use crate::postgres::names;

/// Held while roles, schemas or privileges are changed: replicas do it one after another.
const LOCK: i64 = 0x6973_615f_7067;

/// The revision of `harden.sql`; stands in the comment of the schema that it makes.
const HARDENED: &str = "isa 1";
const HARDEN: &str = include_str!("harden.sql");

/// The revision of what is made of a tenant; stands in the comment of its role.
const TENANT: &str = "isa tenant 1";

/// Connections of one tenant from all replicas.
const CONNECTIONS: usize = 3 * super::pool::MAX_TENANT_CONNECTIONS;

/// Bytes that one session may have in temporary files, in kB: a sort that does not fit in memory.
const TEMP_FILES: u32 = 1 << 20;

/// Makes tenants.
pub(super) struct Provisioner {
    /// Whether the database was looked at by this process.
    hardened: AtomicBool,
    /// Schemas of extensions, whose types and functions every tenant may use.
    extensions: RwLock<Vec<String>>,
}

impl Provisioner {
    pub(super) fn new() -> Self {
        Self {
            hardened: AtomicBool::new(false),
            extensions: RwLock::default(),
        }
    }

    /// Where a tenant's unqualified names are looked up, as an option of the connection.
    pub(super) fn search_path(&self, role: &str) -> String {
        let mut path = role.to_owned();
        for schema in self.extensions.read().iter() {
            path.push(',');
            path.push_str(schema);
        }
        path
    }

    /// Makes the role and the schema, if they are not there; `again` sets its password in any case.
    pub(super) async fn make(
        &self,
        client: &Client,
        role: &str,
        password: &str,
        again: bool,
    ) -> Result<(), Error> {
        if again || !self.hardened.load(Relaxed) {
            self.harden(client).await?;
            self.hardened.store(true, Relaxed);
        }
        let known = "SELECT pg_catalog.shobj_description(r.oid, 'pg_authid') FROM pg_catalog.pg_roles r \
             JOIN pg_catalog.pg_namespace n ON n.nspname = r.rolname WHERE r.rolname = $1";
        let known = client.query_opt(known, &[&role]).await?;
        let revision: Option<String> = match &known {
            Some(row) => row.try_get(0)?,
            None => None,
        };
        if !again && revision.as_deref() == Some(TENANT) {
            return Ok(());
        }
        let verifier = names::verifier(password, rand::random());
        // One transaction. Roles are of the whole cluster, and so is the lock's number of every database.
        let statements = format!(
            "SET LOCAL lock_timeout = '15s';
             SELECT pg_catalog.pg_advisory_xact_lock({LOCK});
             DO $$ BEGIN
                 IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{role}') THEN
                     CREATE ROLE {role};
                 END IF;
             END $$;
             ALTER ROLE {role} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT LOGIN
                 CONNECTION LIMIT {CONNECTIONS} PASSWORD '{verifier}';
             ALTER ROLE {role} RESET ALL;
             ALTER ROLE {role} SET temp_file_limit = {TEMP_FILES};
             CREATE SCHEMA IF NOT EXISTS {role};
             REVOKE ALL ON SCHEMA {role} FROM PUBLIC;
             GRANT USAGE, CREATE ON SCHEMA {role} TO {role};
             ALTER DEFAULT PRIVILEGES FOR ROLE {role} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
             ALTER DEFAULT PRIVILEGES FOR ROLE {role} REVOKE USAGE ON TYPES FROM PUBLIC;
             COMMENT ON ROLE {role} IS '{TENANT}';"
        );
        Ok(client.batch_execute(&statements).await?)
    }

    async fn harden(&self, client: &Client) -> Result<(), Error> {
        let known = "SELECT pg_catalog.obj_description(oid, 'pg_namespace') FROM pg_catalog.pg_namespace \
             WHERE nspname = 'isa_lookup'";
        let known = client.query_opt(known, &[]).await?;
        let revision: Option<String> = match &known {
            Some(row) => row.try_get(0)?,
            None => None,
        };
        if revision.as_deref() != Some(HARDENED) {
            let statements = format!(
                "SET LOCAL lock_timeout = '15s';\nSELECT pg_catalog.pg_advisory_xact_lock({LOCK});\n{HARDEN}\n\
                 COMMENT ON SCHEMA isa_lookup IS '{HARDENED}';"
            );
            client.batch_execute(&statements).await?;
            tracing::info!("tenants may not read PostgreSQL's catalog from now on");
        }
        let schemas = "SELECT DISTINCT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e \
             JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname <> 'pg_catalog' ORDER BY 1";
        let mut found = Vec::new();
        for row in client.query(schemas, &[]).await? {
            let schema: String = row.try_get(0)?;
            // A name with blanks would have to be escaped once more in the connection's options.
            if schema
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                client
                    .batch_execute(&format!(
                        "SELECT pg_catalog.pg_advisory_xact_lock({LOCK}); GRANT USAGE ON SCHEMA {schema} TO PUBLIC"
                    ))
                    .await?;
                found.push(schema);
            }
        }
        *self.extensions.write() = found;
        Ok(())
    }
}
