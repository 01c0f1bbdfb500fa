MODEL (name chain.int_flights_planes, kind INCREMENTAL_BY_TIME_RANGE (time_column date), end '{LAST}');

SELECT f.date, f.origin, f.carrier, f.flight, f.dep_delay_min, p.seats
FROM chain.stg_flights AS f
LEFT JOIN chain.stg_planes AS p ON p.tailnum = f.tailnum
WHERE f.date BETWEEN @start_date AND @end_date
