"""What the client tests share: a real server, real clients pointed at it, and a hand-made SigV4 signer."""
