//! The object store on MinIO and on SeaweedFS: every suite runs on both.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands, its helpers too")]

mod bed;
mod buckets;
mod objects;
mod refusals;
mod settings;
mod streams;
mod uploads;

use std::panic::AssertUnwindSafe;

use bed::Bed;
pub(crate) use bed::s3;
use futures::FutureExt;

macro_rules! on_minio {
    ($($suite:ident::$name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $suite::$name(&Bed::minio().await).await;
            }
        )*

        /// In one test, for the engine is started for it alone.
        #[tokio::test(flavor = "multi_thread")]
        async fn seaweedfs_does_the_same() {
            let bed = Bed::seaweedfs().await;
            let mut failed = Vec::new();
            $(
                let suite = AssertUnwindSafe(Box::pin($suite::$name(&bed)));
                if suite.catch_unwind().await.is_err() {
                    failed.push(stringify!($name));
                }
            )*
            assert!(failed.is_empty(), "on SeaweedFS: {failed:?}");
        }
    };
}

on_minio! {
    buckets::are_made_listed_described_and_removed
    buckets::are_emptied_by_force
    buckets::of_another_tenant_do_not_exist
    settings::tags_and_versions_are_kept
    settings::policies_open_the_tenants_own_bucket_alone
    settings::lifecycle_rules_are_kept
    objects::are_written_read_and_described
    objects::are_listed_in_pages
    objects::are_copied_and_removed
    objects::have_signed_urls
    uploads::of_any_size_arrive_whole
    uploads::that_break_off_leave_nothing
    uploads::in_parts_are_the_callers_own
    refusals::name_the_field
    refusals::are_the_same_for_strangers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_closes_the_engines_side() {
    streams::a_reader_that_leaves_closes_the_engines_side().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_down_is_unavailable_and_unhealthy() {
    streams::an_engine_that_is_down_is_unavailable_and_unhealthy().await;
}
