MODEL (name chain.stg_planes, kind FULL);

SELECT tailnum, manufacturer, seats::BIGINT AS seats
FROM chain.raw_planes
