"""What machines are told about the mesh: metrics, traces of its work, logs."""
