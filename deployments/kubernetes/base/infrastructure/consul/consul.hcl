# One of three servers. Its name, its address and the gossip key (from the Secret) come by the command line.
server           = true
bootstrap_expect = 3
data_dir         = "/consul/data"
bind_addr        = "0.0.0.0"
client_addr      = "0.0.0.0"

# The headless Service lists every server, Ready or not. One name for all instead of one for each: whoever asks later sees at
# least whom an earlier one saw, so that no two servers can each find only themselves.
retry_join     = ["consul-headless"]
retry_interval = "2s"

ports {
  http     = 8500
  https    = -1
  dns      = 8600
  server   = 8300
  serf_lan = 8301
  serf_wan = 8302
  grpc     = 8502
  grpc_tls = -1
}

# A server that is restarted stays a member of the quorum. If it left, a rollout would shrink the quorum.
leave_on_terminate      = false
skip_leave_on_interrupt = true

# A lost server is forgotten when another has taken its place, never below three.
autopilot {
  cleanup_dead_servers = true
  min_quorum           = 3
}

# The default is made for small cloud machines and takes five times as long to elect a leader.
performance {
  raft_multiplier = 1
}

ui_config {
  enabled = true
}

# Health checks given as shell commands would let whoever reaches the API run programs here.
enable_script_checks = false
disable_update_check = true
log_level            = "info"
