-- What a tenant's role may read of the database itself: nothing that names what is another's. Run by the
-- administrator, who stays unaffected as a superuser; monitoring by members of pg_monitor stays possible. Repeatable.

-- Every catalog table and view that everybody may read, until now.
DO $$
DECLARE
    thing record;
BEGIN
    FOR thing IN
        SELECT c.oid::pg_catalog.regclass AS name
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace
          AND c.relkind IN ('r', 'v')
          -- About the session itself, or about the world.
          AND c.relname NOT IN ('pg_cursors', 'pg_prepared_statements', 'pg_timezone_names', 'pg_timezone_abbrevs')
          AND (EXISTS (SELECT FROM pg_catalog.aclexplode(c.relacl) a WHERE a.grantee = 0)
            OR EXISTS (SELECT FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) a
                       WHERE t.attrelid = c.oid AND a.grantee = 0))
    LOOP
        IF EXISTS (SELECT FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
                   WHERE c.oid = thing.name AND a.grantee = 0 AND a.privilege_type = 'SELECT') THEN
            EXECUTE pg_catalog.format('GRANT SELECT ON %s TO pg_monitor', thing.name);
        END IF;
        EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', thing.name);
    END LOOP;
END $$;

-- `information_schema.columns` looks up the encoding, as the one who asks.
GRANT SELECT (datname, encoding) ON pg_catalog.pg_database TO PUBLIC;

-- Of the standard's views, those that name what everybody may use, which every table's own type and every collation is.
REVOKE ALL ON information_schema.udt_privileges, information_schema.usage_privileges, information_schema.collations,
    information_schema.collation_character_set_applicability FROM PUBLIC;

-- Functions that show or touch what is not the caller's: statistics and locks of everybody, definitions by number,
-- names by number, sizes of anything, files, the log of writes, large objects (one space for all), advisory locks (one
-- space for all), notifications, other sessions.
DO $$
DECLARE
    thing record;
BEGIN
    FOR thing IN
        SELECT p.oid::pg_catalog.regprocedure AS name
        FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
          AND p.prokind = 'f'
          AND p.proname <> 'pg_advisory_unlock_all'
          AND (p.proname ~ ('^(lo_|lo(read|write)$|pg_stat_|pg_stats_|pg_advisory_|pg_try_advisory_|pg_ls_|pg_read_'
                || '|pg_identify_object|pg_relation_file|pg_filenode_relation|pg_tablespace_|pg_current_wal'
                || '|pg_wal|pg_last_|pg_logical_|pg_replication_|pg_show_|pg_control_|pg_config$|pg_hba_'
                || '|pg_get_(indexdef|constraintdef|ruledef|functiondef|viewdef|triggerdef|statisticsobj|partkeydef'
                || '|partition_constraintdef|userbyid|wal_|shmem|backend|multixact|replication|publication'
                || '|object_address|acl|function_|catalog_foreign_keys|process_memory|dsm|loaded|aios)'
                || '|pg_(table|indexes|total_relation|relation|database)_size$|pg_partition_(tree|ancestors|root)'
                || '|pg_blocking_pids$|pg_safe_snapshot_blocking_pids$|pg_isolation_test|pg_lock_status$'
                || '|pg_(cancel|terminate)_backend$|pg_notify$|pg_describe_object$|pg_export_snapshot$'
                || '|(shobj|obj|col)_description$|pg_prepared_xact$|pg_sequence_|pg_available_|pg_extension_'
                || '|pg_log_|pg_switch_wal|pg_promote|pg_reload_conf|pg_rotate_logfile|pg_event_trigger|pg_file_'
                || '|pg_cursor_unused|pg_mcv_list_items|pg_index(am)?_|pg_event_|pg_tablespace|pg_xact_commit|pg_collation_actual'
                || '|database_to_xml|inet_(server|client)_|pg_conf_load_time$|pg_postmaster_start_time$)'))
          AND (p.proacl IS NULL OR EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) a WHERE a.grantee = 0))
    LOOP
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO pg_monitor', thing.name);
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', thing.name);
    END LOOP;
END $$;

-- What the driver asks of types (`tap.rs`), of the schemas that the one who asks may use.
CREATE SCHEMA IF NOT EXISTS isa_lookup;
GRANT USAGE ON SCHEMA isa_lookup TO PUBLIC;
CREATE OR REPLACE VIEW isa_lookup.pg_namespace WITH (security_barrier) AS
    SELECT oid, nspname FROM pg_catalog.pg_namespace
    WHERE pg_catalog.has_schema_privilege(oid, 'USAGE');
CREATE OR REPLACE VIEW isa_lookup.pg_type WITH (security_barrier) AS
    SELECT oid, typname, typtype, typelem, typbasetype, typnamespace, typrelid FROM pg_catalog.pg_type
    WHERE pg_catalog.has_schema_privilege(typnamespace, 'USAGE');
CREATE OR REPLACE VIEW isa_lookup.pg_range WITH (security_barrier) AS
    SELECT r.rngtypid, r.rngsubtype FROM pg_catalog.pg_range r JOIN pg_catalog.pg_type t ON t.oid = r.rngtypid
    WHERE pg_catalog.has_schema_privilege(t.typnamespace, 'USAGE');
CREATE OR REPLACE VIEW isa_lookup.pg_enum WITH (security_barrier) AS
    SELECT e.enumtypid, e.enumlabel, e.enumsortorder FROM pg_catalog.pg_enum e
    JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid
    WHERE pg_catalog.has_schema_privilege(t.typnamespace, 'USAGE');
CREATE OR REPLACE VIEW isa_lookup.pg_attribute WITH (security_barrier) AS
    SELECT a.attrelid, a.attname, a.atttypid, a.attnum, a.attisdropped FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE');
GRANT SELECT ON ALL TABLES IN SCHEMA isa_lookup TO PUBLIC;

-- The default of PostgreSQL 15; older clusters let everybody make things there.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
