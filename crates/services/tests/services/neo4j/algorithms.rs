//! Algorithms over the tenant's graph. Their numbers are checked beside their code.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn scores_and_groups_by_id() {
    let world = World::start().await;
    let mut client = world.client.clone();
    // a -> b -> c, and d alone.
    let chain = world.chain(3).await;
    let alone = world.create(&["Alone"], []).await.id;
    let request = pb::PageRankRequest {
        metadata: world.metadata(),
        max_iterations: Some(100),
        ..Default::default()
    };
    let scores = client
        .page_rank(request.clone())
        .await
        .unwrap()
        .into_inner()
        .scores;
    assert_eq!(scores.len(), 4);
    assert!((scores.values().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(scores[&chain[2]] > scores[&chain[1]] && scores[&chain[1]] > scores[&chain[0]]);
    assert!((scores[&alone] - scores[&chain[0]]).abs() < 1e-9);
    let part = pb::PageRankRequest {
        label: Some("Link".into()),
        relationship_type: Some("NEVER".into()),
        ..request.clone()
    };
    let scores = client.page_rank(part).await.unwrap().into_inner().scores;
    assert!(scores.len() == 3 && scores.values().all(|score| (score - 1.0 / 3.0).abs() < 1e-9));
    for (damping, iterations, words) in [
        (Some(1.0), None, "dampening_factor"),
        (Some(f64::NAN), None, "dampening_factor"),
        (None, Some(0), "max_iterations"),
        (None, Some(1001), "max_iterations"),
    ] {
        let request = pb::PageRankRequest {
            dampening_factor: damping,
            max_iterations: iterations,
            ..request.clone()
        };
        refused(client.page_rank(request).await, Code::InvalidArgument, words);
    }

    let request = pb::BetweennessCentralityRequest {
        metadata: world.metadata(),
        ..Default::default()
    };
    let scores = client
        .betweenness_centrality(request)
        .await
        .unwrap()
        .into_inner()
        .scores;
    let expected = [(chain[0], 0.0), (chain[1], 1.0), (chain[2], 0.0), (alone, 0.0)];
    assert_eq!(scores, expected.into());

    for algorithm in ["", "louvain", "label_propagation"] {
        let request = pb::CommunityDetectionRequest {
            metadata: world.metadata(),
            algorithm: Some(algorithm.into()),
            ..Default::default()
        };
        let found = client.community_detection(request).await.unwrap().into_inner();
        assert_eq!(found.communities.len(), 4);
        assert_eq!(found.communities[&chain[0]], 0);
        assert_ne!(found.communities[&alone], 0);
        let groups = found.communities.values().max().unwrap() + 1;
        assert_eq!(i64::from(found.num_communities), groups);
    }
    let request = pb::CommunityDetectionRequest {
        metadata: world.metadata(),
        algorithm: Some("guess".into()),
        ..Default::default()
    };
    refused(
        client.community_detection(request).await,
        Code::InvalidArgument,
        "algorithm",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_graph_has_no_scores() {
    let world = World::start().await;
    let request = pb::BetweennessCentralityRequest {
        metadata: world.metadata(),
        ..Default::default()
    };
    let mut client = world.client.clone();
    assert!(
        client
            .betweenness_centrality(request)
            .await
            .unwrap()
            .into_inner()
            .scores
            .is_empty()
    );
    let request = pb::CommunityDetectionRequest {
        metadata: world.metadata(),
        ..Default::default()
    };
    assert_eq!(
        client
            .community_detection(request)
            .await
            .unwrap()
            .into_inner()
            .num_communities,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_is_read_in_windows() {
    let world = World::start().await;
    // More rows than are asked for at once.
    let label = world.label();
    let cypher = format!(
        "UNWIND range(1, 12000) AS n CREATE (a:`{label}`) WITH collect(a) AS all \
         UNWIND range(0, 11998) AS n WITH all[n] AS a, all[n + 1] AS b CREATE (a)-[:NEXT]->(b)"
    );
    world.cypher(&cypher, []).await.unwrap();
    let request = pb::PageRankRequest {
        metadata: world.metadata(),
        ..Default::default()
    };
    let mut client = world.client.clone();
    assert_eq!(
        client.page_rank(request).await.unwrap().into_inner().scores.len(),
        12_000
    );
    world
        .cypher(&format!("MATCH (n:`{label}`) DETACH DELETE n"), [])
        .await
        .unwrap();
}
