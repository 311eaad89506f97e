"""The proposed method: contrast under noise, then patch replacement."""
