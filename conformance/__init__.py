"""Every method of the building blocks, by the published Python client and by plain gRPC, checked on the engines."""
