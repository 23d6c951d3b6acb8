"""ST-CLIP (Huang, Chen, Lai, WACV 2025)."""
