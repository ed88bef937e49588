use aws_sdk_s3::primitives::ByteStream;
use isa_config::{EngineKind, ServiceKind};
use isa_proto::duckdb::{self as pb, import_data_request::Data, value::Value as Kind};
use tonic::Code;

use super::{World, fails, text};
use crate::harness;

/// S3's own client, and a bucket of the tenant.
async fn bucket(world: &World) -> (aws_sdk_s3::Client, String) {
    let s3 = crate::minio::s3(
        &harness::engines(ServiceKind::Duckdb)
            .await
            .endpoint(EngineKind::Minio),
    );
    let name = format!("{}-files", world.tenant().slug());
    s3.create_bucket().bucket(&name).send().await.unwrap();
    (s3, name)
}

fn import(world: &World, table: &str, key: &str) -> pb::ImportFromMinIoRequest {
    pb::ImportFromMinIoRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        table_name: table.into(),
        bucket_name: "files".into(),
        object_key: key.into(),
        ..Default::default()
    }
}

fn export(world: &World, query: &str, key: &str) -> pb::ExportToMinIoRequest {
    pb::ExportToMinIoRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        query: query.into(),
        bucket_name: "files".into(),
        object_key: key.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_exported_queried_and_imported() {
    let world = World::start().await;
    let (s3, name) = bucket(&world).await;
    world
        .run("create table t as select range a, 'v' || range b from range(1000)")
        .await;
    for format in ["csv", "json", "parquet"] {
        let key = format!("out/data.{format}");
        let query = "select * from t where a < 500 -- half";
        let done = world
            .client()
            .export_to_min_io(export(&world, query, &key))
            .await
            .unwrap()
            .into_inner();
        assert!(done.success && done.rows_exported == 500, "{done:?}");
        let object = s3.get_object().bucket(&name).key(&key).send().await.unwrap();
        let bytes = object.body.collect().await.unwrap().into_bytes();
        assert_eq!(bytes.len() as i64, done.file_size);
        match format {
            "csv" => assert!(bytes.starts_with(b"a,b\n0,v0\n"), "{format}"),
            "json" => assert!(bytes.starts_with(b"{\"a\":0,\"b\":\"v0\"}\n"), "{format}"),
            _ => assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{format}"),
        }
        fails(
            world
                .client()
                .export_to_min_io(export(&world, "from t", &key))
                .await,
            Code::AlreadyExists,
        );
        let over = pb::ExportToMinIoRequest {
            overwrite: true,
            ..export(&world, query, &key)
        };
        world.client().export_to_min_io(over).await.unwrap();

        let query = pb::QueryMinIoFileRequest {
            database_id: world.db.clone(),
            user_id: world.user.clone(),
            bucket_name: "files".into(),
            object_key: key.clone(),
            query: "select count(*), max(f.a) from $FILE f join t using (a)".into(),
            ..Default::default()
        };
        let found = world
            .client()
            .query_min_io_file(query)
            .await
            .unwrap()
            .into_inner();
        let values: Vec<_> = found.rows[0]
            .values
            .iter()
            .map(|value| value.value.clone().unwrap())
            .collect();
        assert_eq!(values, [Kind::IntValue(500), Kind::IntValue(499)], "{format}");

        let table = format!("from_{format}");
        let done = world
            .client()
            .import_from_min_io(import(&world, &table, &key))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(done.rows_imported, 500);
        // Again adds, unless the table is emptied.
        world
            .client()
            .import_from_min_io(import(&world, &table, &key))
            .await
            .unwrap();
        assert_eq!(world.number(&format!("select count(*) from {table}")).await, 1000);
        let emptied = pb::ImportFromMinIoRequest {
            truncate: true,
            ..import(&world, &table, &key)
        };
        world.client().import_from_min_io(emptied).await.unwrap();
        assert_eq!(world.number(&format!("select count(*) from {table}")).await, 500);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_are_whole_or_nothing_and_stay_in_the_tenants_buckets() {
    let world = World::start().await;
    let (s3, name) = bucket(&world).await;
    let body = ByteStream::from_static(b"a;b\n1;x\n2;NIL\nbad;y\n");
    s3.put_object()
        .bucket(&name)
        .key("odd.csv")
        .body(body)
        .send()
        .await
        .unwrap();
    world.run("create table t (a int, b varchar)").await;
    world.run("insert into t values (0, 'kept')").await;
    let mut request = import(&world, "t", "odd.csv");
    request.truncate = true;
    request.options = [("delim", ";"), ("header", "true"), ("nullstr", "NIL")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    fails(
        world.client().import_from_min_io(request.clone()).await,
        Code::InvalidArgument,
    );
    assert_eq!(world.row("select b from t").await, [text("kept")]);
    fails(
        world
            .client()
            .import_from_min_io(import(&world, "t", "absent.csv"))
            .await,
        Code::NotFound,
    );
    let elsewhere = pb::ImportFromMinIoRequest {
        bucket_name: "absent".into(),
        ..import(&world, "t", "odd.csv")
    };
    fails(world.client().import_from_min_io(elsewhere).await, Code::NotFound);
    request.options.insert("filename".into(), "x".into());
    let message = fails(
        world.client().import_from_min_io(request).await,
        Code::InvalidArgument,
    );
    assert!(message.starts_with("options.filename"), "{message}");
    for query in [
        "select 1) to '/tmp/x' --",
        "drop table t",
        "copy t to 'x'",
        "select 1; select 2",
    ] {
        let refused = world
            .client()
            .export_to_min_io(export(&world, query, "x.csv"))
            .await
            .unwrap_err();
        assert!(
            matches!(refused.code(), Code::InvalidArgument | Code::PermissionDenied),
            "{refused:?}"
        );
    }
    // The files that DuckDB may open are not open to a tenant's statement in the middle of all this.
    let place = world
        .row("select current_setting('allowed_paths')::varchar")
        .await;
    assert!(matches!(&place[0], Kind::StringValue(paths) if paths.contains(world.tenant().slug())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_sent_in_the_call() {
    let world = World::start().await;
    let about = |total_size| {
        Data::Metadata(pb::ImportDataMetadata {
            database_id: world.db.clone(),
            user_id: world.user.clone(),
            table_name: "t".into(),
            format: "csv".into(),
            total_size,
            ..Default::default()
        })
    };
    let send = |parts: Vec<Data>| {
        let messages: Vec<_> = parts
            .into_iter()
            .map(|data| pb::ImportDataRequest { data: Some(data) })
            .collect();
        let mut client = world.client();
        async move {
            client
                .import_data(futures::stream::iter(messages))
                .await
                .map(|it| it.into_inner())
        }
    };
    let chunk = |text: &'static str| Data::Chunk(text.as_bytes().into());
    let done = send(vec![about(0), chunk("a,b\n1,"), chunk("x\n2,y\n")])
        .await
        .unwrap();
    assert_eq!(done.rows_imported, 2);
    assert_eq!(world.number("select sum(a) from t").await, 3);
    let done = send(vec![about(10), chunk("a,b\n7,zz\n"), chunk("\n")])
        .await
        .unwrap();
    assert_eq!(done.rows_imported, 1);
    fails(
        send(vec![about(11), chunk("a,b\n7,zz\n")]).await,
        Code::InvalidArgument,
    );
    fails(
        send(vec![about(3), chunk("a,b\n7,zz\n")]).await,
        Code::InvalidArgument,
    );
    fails(send(vec![chunk("a")]).await, Code::InvalidArgument);
    fails(send(vec![about(0), about(0)]).await, Code::InvalidArgument);
    fails(send(vec![]).await, Code::InvalidArgument);
    assert_eq!(world.number("select count(*) from t").await, 3);
}
