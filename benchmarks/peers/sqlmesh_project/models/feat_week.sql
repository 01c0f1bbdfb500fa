MODEL (name chain.feat_week, kind INCREMENTAL_BY_TIME_RANGE (time_column date), end '{LAST}');

SELECT
  d.date,
  w.carrier,
  sum(w.flights)::BIGINT AS flights_7d,
  round(sum(w.delayed) / sum(w.flights), 6)::DOUBLE AS delayed_share_7d
FROM (SELECT DISTINCT date FROM chain.mart_daily WHERE date BETWEEN @start_date AND @end_date) AS d
JOIN chain.mart_daily AS w
  ON w.date BETWEEN d.date - 6 AND d.date AND w.date BETWEEN @start_date - 6 AND @end_date
GROUP BY d.date, w.carrier
