"""Whether this machine, its settings and its servers are what a mesh needs: `app.py doctor`."""
