"""Every test of this folder may use a redis-server: `redis`."""

from tests.redis_fixtures import redis as redis
