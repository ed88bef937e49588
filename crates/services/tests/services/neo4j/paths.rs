//! Neighbours and paths.

use super::*;

fn route(world: &World, from: i64, to: i64, depth: i32) -> pb::GetShortestPathRequest {
    pb::GetShortestPathRequest {
        metadata: world.metadata(),
        start_node_id: from,
        end_node_id: to,
        max_depth: Some(depth),
        ..Default::default()
    }
}

fn ids(path: &pb::Path) -> Vec<i64> {
    path.nodes.iter().map(|node| node.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shortest_path_is_found_in_any_direction() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let chain = world.chain(5).await;
    let short = world.relate(chain[4], "CUT", chain[1]).await;
    let found = client
        .get_shortest_path(route(&world, chain[0], chain[4], 0))
        .await
        .unwrap();
    let found = found.into_inner();
    let path = found.path.unwrap();
    assert!(found.found);
    assert_eq!((ids(&path), path.length), (vec![chain[0], chain[1], chain[4]], 2));
    // Against its direction.
    assert_eq!(path.relationships[1], short);
    let long = pb::GetShortestPathRequest {
        relationship_type: Some("NEXT".into()),
        ..route(&world, chain[0], chain[4], 0)
    };
    let path = client
        .get_shortest_path(long.clone())
        .await
        .unwrap()
        .into_inner()
        .path
        .unwrap();
    assert_eq!(ids(&path), chain);
    let too_long = pb::GetShortestPathRequest {
        max_depth: Some(3),
        ..long
    };
    let none = client.get_shortest_path(too_long).await.unwrap().into_inner();
    assert_eq!((none.found, none.path), (false, None));
    let itself = client
        .get_shortest_path(route(&world, chain[0], chain[0], 3))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((itself.found, itself.path.unwrap().length), (true, 0));

    let any = pb::GetPathRequest {
        metadata: world.metadata(),
        start_node_id: chain[0],
        end_node_id: chain[3],
        ..Default::default()
    };
    let any = client.get_path(any).await.unwrap().into_inner();
    assert!(any.found);
    let path = any.path.unwrap();
    assert_eq!(path.nodes.len(), path.relationships.len() + 1);

    for (from, to) in [(chain[0], i64::MAX), (i64::MAX, chain[0]), (i64::MAX, i64::MAX)] {
        refused(
            client.get_shortest_path(route(&world, from, to, 3)).await,
            Code::NotFound,
            "node",
        );
    }
    refused(
        client
            .get_shortest_path(route(&world, chain[0], chain[1], 21))
            .await,
        Code::InvalidArgument,
        "max_depth",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_paths_come_shortest_first() {
    let world = World::start().await;
    let mut client = world.client.clone();
    // A diamond with a tail: two ways of two steps, and one straight.
    let chain = world.chain(3).await;
    let other = world.create(&[], []).await.id;
    world.relate(chain[0], "NEXT", other).await;
    world.relate(other, "NEXT", chain[2]).await;
    world.relate(chain[0], "CUT", chain[2]).await;
    let mut request = pb::GetAllPathsRequest {
        metadata: world.metadata(),
        start_node_id: chain[0],
        end_node_id: chain[2],
        ..Default::default()
    };
    let all = client
        .get_all_paths(request.clone())
        .await
        .unwrap()
        .into_inner()
        .paths;
    let lengths: Vec<i32> = all.iter().map(|path| path.length).collect();
    assert!(lengths.is_sorted() && lengths.len() >= 3, "{lengths:?}");
    assert_eq!(lengths[..3], [1, 2, 2]);
    for path in &all {
        let used: std::collections::BTreeSet<i64> = path.relationships.iter().map(|r| r.id).collect();
        assert_eq!(used.len(), path.relationships.len());
        assert_eq!((ids(path)[0], *ids(path).last().unwrap()), (chain[0], chain[2]));
    }
    request.limit = Some(2);
    assert_eq!(
        client
            .get_all_paths(request.clone())
            .await
            .unwrap()
            .into_inner()
            .paths
            .len(),
        2
    );
    request.limit = None;
    request.relationship_type = Some("NEXT".into());
    request.max_depth = Some(2);
    assert_eq!(
        client
            .get_all_paths(request.clone())
            .await
            .unwrap()
            .into_inner()
            .paths
            .len(),
        2
    );
    request.relationship_type = Some("NEVER".into());
    assert!(
        client
            .get_all_paths(request.clone())
            .await
            .unwrap()
            .into_inner()
            .paths
            .is_empty()
    );
    request.end_node_id = i64::MAX;
    refused(client.get_all_paths(request).await, Code::NotFound, "node");
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_are_found_step_by_step() {
    let world = World::start().await;
    let chain = world.chain(5).await;
    let looped = world.relate(chain[2], "SELF", chain[2]).await;
    let mut client = world.client.clone();
    let mut around = async |id: i64, kind: Option<&str>, direction: &str, depth: i32| {
        let request = pb::GetNeighborsRequest {
            metadata: world.metadata(),
            node_id: id,
            relationship_type: kind.map(Into::into),
            direction: Some(direction.into()),
            max_depth: Some(depth),
            ..Default::default()
        };
        let found = client.get_neighbors(request).await?.into_inner();
        let nodes: Vec<i64> = found.nodes.iter().map(|node| node.id).collect();
        Ok::<_, Status>((nodes, found.relationships))
    };
    let sorted = |mut ids: Vec<i64>| {
        ids.sort_unstable();
        ids
    };
    let (nodes, relationships) = around(chain[2], None, "", 0).await.unwrap();
    assert_eq!(nodes, sorted(vec![chain[1], chain[3]]));
    assert_eq!(relationships.len(), 3);
    assert!(relationships.contains(&looped));
    assert_eq!(around(chain[2], None, "OUT", 1).await.unwrap().0, [chain[3]]);
    assert_eq!(
        around(chain[2], None, "incoming", 5).await.unwrap().0,
        sorted(vec![chain[0], chain[1]])
    );
    let (nodes, relationships) = around(chain[0], Some("NEXT"), "outgoing", 3).await.unwrap();
    assert_eq!(nodes, sorted(chain[1..4].to_vec()));
    assert_eq!(relationships.len(), 3);
    assert!(
        around(chain[0], Some("NEVER"), "both", 3)
            .await
            .unwrap()
            .0
            .is_empty()
    );
    refused(around(i64::MAX, None, "", 1).await, Code::NotFound, "node");
    refused(
        around(chain[0], None, "up", 1).await,
        Code::InvalidArgument,
        "direction",
    );
    refused(
        around(chain[0], None, "", 11).await,
        Code::InvalidArgument,
        "max_depth",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_do_not_lead_over_what_is_not_the_tenants() {
    let world = World::start().await;
    let (a, b) = (
        world.create(&["Far"], []).await.id,
        world.create(&["Far"], []).await.id,
    );
    world
        .cypher(
            "MATCH (a) WHERE id(a) = $a MATCH (b) WHERE id(b) = $b CREATE (a)-[:OVER]->(:Bridge)-[:OVER]->(b)",
            [("a", number(a as f64)), ("b", number(b as f64))],
        )
        .await
        .unwrap();
    let mut client = world.client.clone();
    let found = client
        .get_shortest_path(route(&world, a, b, 9))
        .await
        .unwrap()
        .into_inner();
    assert!(!found.found);
    let request = pb::GetAllPathsRequest {
        metadata: world.metadata(),
        start_node_id: a,
        end_node_id: b,
        ..Default::default()
    };
    assert!(
        client
            .get_all_paths(request)
            .await
            .unwrap()
            .into_inner()
            .paths
            .is_empty()
    );
    let request = pb::GetNeighborsRequest {
        metadata: world.metadata(),
        node_id: a,
        max_depth: Some(5),
        ..Default::default()
    };
    assert!(
        client
            .get_neighbors(request)
            .await
            .unwrap()
            .into_inner()
            .nodes
            .is_empty()
    );
    world
        .cypher("MATCH (n:Bridge) DETACH DELETE n", [])
        .await
        .unwrap();
}
