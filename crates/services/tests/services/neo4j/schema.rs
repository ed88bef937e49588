//! Indexes, constraints and figures.

use super::*;

fn index(world: &World, name: &str, kind: &str, properties: &[&str]) -> pb::CreateIndexRequest {
    pb::CreateIndexRequest {
        metadata: world.metadata(),
        index_name: name.into(),
        label: "Doc".into(),
        properties: texts(properties),
        index_type: Some(kind.into()),
        ..Default::default()
    }
}

fn constraint(world: &World, name: &str, kind: &str) -> pb::CreateConstraintRequest {
    pb::CreateConstraintRequest {
        metadata: world.metadata(),
        constraint_name: name.into(),
        label: "User".into(),
        properties: texts(&["email"]),
        constraint_type: kind.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_the_tenants_alone() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let node = world
        .create(&["Doc"], [("title", text("the graph")), ("pages", number(7.0))])
        .await;
    for (name, kind, properties) in [
        ("by_pages", "", &["pages", "ti`tle"][..]),
        ("by_text", "TEXT", &["title"]),
        ("by_place", "point", &["place"]),
        ("search", "fulltext", &["title", "body"]),
    ] {
        let request = index(&world, name, kind, properties);
        assert!(
            client
                .create_index(request.clone())
                .await
                .unwrap()
                .into_inner()
                .success
        );
        // One alike is no error.
        client.create_index(request).await.unwrap();
    }
    let request = pb::ListIndexesRequest {
        metadata: world.metadata(),
        ..Default::default()
    };
    let listed = client
        .list_indexes(request.clone())
        .await
        .unwrap()
        .into_inner()
        .indexes;
    let told: Vec<_> = listed
        .iter()
        .map(|i| (i.name.as_str(), i.r#type.as_str(), i.state.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("by_pages", "RANGE", "ONLINE"),
            ("by_place", "POINT", "ONLINE"),
            ("by_text", "TEXT", "ONLINE"),
            ("search", "FULLTEXT", "ONLINE"),
        ]
    );
    assert_eq!(listed[0].properties, ["pages", "ti`tle"]);
    assert!(listed.iter().all(|index| index.labels_or_types == ["Doc"]));
    // Full text is asked by Cypher.
    let found = world
        .cypher(
            "CALL db.index.fulltext.queryNodes($index, 'graph') YIELD node RETURN id(node) AS id",
            [("index", text(&format!("{}_search", world.label())))],
        )
        .await
        .unwrap();
    assert_eq!(found.rows[0].fields["id"], number(node.id as f64));
    // A structured call uses the index.
    let plan = format!(
        "EXPLAIN MATCH (n:`{}_Doc`) WHERE n.title = 'x' RETURN n",
        world.label()
    );
    world.cypher(&plan, []).await.unwrap();

    refused(
        client.create_index(index(&world, "search", "", &["title"])).await,
        Code::AlreadyExists,
        "search",
    );
    refused(
        client
            .create_index(index(&world, "again", "text", &["title"]))
            .await,
        Code::AlreadyExists,
        "there is",
    );
    for (name, kind, properties, words) in [
        ("", "", &["a"][..], "index_name"),
        ("a b", "", &["a"], "index_name"),
        ("x", "lookup", &["a"], "index_type"),
        ("x", "", &[], "properties"),
        ("x", "text", &["a", "b"], "properties"),
        ("x", "", &["_isa_a"], "properties"),
    ] {
        let request = index(&world, name, kind, properties);
        refused(client.create_index(request).await, Code::InvalidArgument, words);
    }
    for name in ["by_pages", "by_text", "by_place", "search"] {
        let request = pb::DropIndexRequest {
            metadata: world.metadata(),
            index_name: name.into(),
            ..Default::default()
        };
        assert!(
            client
                .drop_index(request.clone())
                .await
                .unwrap()
                .into_inner()
                .success
        );
        refused(client.drop_index(request).await, Code::NotFound, "index");
    }
    assert!(
        client
            .list_indexes(request)
            .await
            .unwrap()
            .into_inner()
            .indexes
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_binds_its_tenant_and_no_other() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let other = World::start().await;
    assert!(
        client
            .create_constraint(constraint(&world, "one_email", "UNIQUE"))
            .await
            .unwrap()
            .into_inner()
            .success
    );
    client
        .create_constraint(constraint(&world, "one_email", "uniqueness"))
        .await
        .unwrap();
    world.create(&["User"], [("email", text("a@b.c"))]).await;
    let refusal = world
        .try_create(&["User"], [("email", text("a@b.c"))])
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), Code::AlreadyExists, "{refusal:?}");
    assert!(
        refusal.message().contains("`User`") && !refusal.message().contains("_isa_"),
        "{refusal:?}"
    );
    other.create(&["User"], [("email", text("a@b.c"))]).await;
    other.create(&["User"], [("email", text("a@b.c"))]).await;
    refused(
        client
            .create_constraint(constraint(&other, "one_email", "unique"))
            .await,
        Code::FailedPrecondition,
        "",
    );
    // Two at once make one.
    let merge = pb::MergeNodeRequest {
        metadata: world.metadata(),
        labels: texts(&["User"]),
        match_properties: Some(fields([("email", text("new@b.c"))])),
        ..Default::default()
    };
    let merges = (0..8).map(|_| {
        let (mut client, merge) = (client.clone(), merge.clone());
        async move { client.merge_node(merge).await }
    });
    let merged = futures::future::join_all(merges).await;
    let created = merged
        .iter()
        .flatten()
        .filter(|merged| merged.get_ref().created)
        .count();
    assert_eq!(created, 1, "{merged:?}");
    let count = format!(
        "MATCH (n:`{}` {{email: 'new@b.c'}}) RETURN count(n) AS count",
        world.label()
    );
    assert_eq!(world.look::<i64>(&count, "count").await, [1]);

    let list = pb::ListConstraintsRequest {
        metadata: world.metadata(),
        ..Default::default()
    };
    let listed = client
        .list_constraints(list.clone())
        .await
        .unwrap()
        .into_inner()
        .constraints;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (
            listed[0].name.as_str(),
            listed[0].r#type.as_str(),
            listed[0].label.as_str()
        ),
        ("one_email", "UNIQUENESS", "User")
    );
    assert_eq!(listed[0].properties, ["email"]);
    let drop = pb::DropIndexRequest {
        metadata: world.metadata(),
        index_name: "one_email".into(),
        ..Default::default()
    };
    refused(
        client.drop_index(drop).await,
        Code::FailedPrecondition,
        "constraint",
    );
    for (kind, code) in [
        ("exists", Code::Unimplemented),
        ("node_key", Code::Unimplemented),
        ("", Code::InvalidArgument),
    ] {
        refused(
            client.create_constraint(constraint(&world, "x", kind)).await,
            code,
            "",
        );
    }
    let drop = pb::DropConstraintRequest {
        metadata: world.metadata(),
        constraint_name: "one_email".into(),
        ..Default::default()
    };
    assert!(
        client
            .drop_constraint(drop.clone())
            .await
            .unwrap()
            .into_inner()
            .success
    );
    refused(client.drop_constraint(drop).await, Code::NotFound, "constraint");
    assert!(
        client
            .list_constraints(list)
            .await
            .unwrap()
            .into_inner()
            .constraints
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_the_tenants_own() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let other = World::start().await;
    other.chain(3).await;
    let chain = world.chain(3).await;
    let extra = world.create(&["Extra", "Link"], [("more", number(1.0))]).await.id;
    world.relate(chain[0], "OTHER", extra).await;
    let request = pb::GetDatabaseInfoRequest {
        metadata: world.metadata(),
        ..Default::default()
    };
    let info = client.get_database_info(request).await.unwrap().into_inner();
    assert_eq!(
        (
            info.name.as_str(),
            info.node_count,
            info.relationship_count,
            info.label_count
        ),
        ("neo4j", 4, 3, 2)
    );
    assert_eq!((info.relationship_type_count, info.property_key_count), (2, 2));
    let request = pb::GetStatisticsRequest {
        metadata: world.metadata(),
        ..Default::default()
    };
    let statistics = client
        .get_statistics(request)
        .await
        .unwrap()
        .into_inner()
        .statistics;
    assert_eq!(
        statistics,
        Some(fields([
            ("node_count", number(4.0)),
            ("relationship_count", number(3.0)),
            ("labels", object([("Link", number(4.0)), ("Extra", number(1.0))])),
            (
                "relationship_types",
                object([("NEXT", number(2.0)), ("OTHER", number(1.0))])
            ),
        ]))
    );
    let request = pb::ListDatabasesRequest {
        metadata: world.metadata(),
    };
    let databases = client
        .list_databases(request)
        .await
        .unwrap()
        .into_inner()
        .databases;
    assert_eq!(databases.len(), 1);
    assert_eq!(
        (
            databases[0].name.as_str(),
            databases[0].status.as_str(),
            databases[0].default
        ),
        ("neo4j", "online", true)
    );
    let health = client
        .health_check(pb::Neo4jHealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(health.healthy && health.version.starts_with("5."), "{health:?}");
    assert_eq!(health.edition, "community");
}
