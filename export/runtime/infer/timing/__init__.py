"""What running a few tiles tells: how long a run takes, and what runs it fastest."""
