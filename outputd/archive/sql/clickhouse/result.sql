-- One result whole, as GET /results/ID: id of instance. Rejected items that outputd only counted are not in an archive.
SELECT id, ip, sent, received, packet_loss, avg_rtt_ns AS avg_rtt,
  outputd_printed(outputd_ns(results.timestamp, timestamp_ns)) AS timestamp, error, min_rtt_ns AS min_rtt,
  max_rtt_ns AS max_rtt, stddev_rtt_ns AS stddev_rtt, node,
  outputd_printed(outputd_ns(results.received_at, 0)) AS received_at,
  outputd_traceroute(results.traceroute) AS traceroute,
  CAST((
    batch_id,
    (SELECT count() FROM results WHERE instance = {instance:String} AND batch_id IN (
      SELECT batch_id FROM results WHERE instance = {instance:String} AND id = {id:Int64}
    )),
    (SELECT count() FROM rejected WHERE instance = {instance:String} AND batch_id IN (
      SELECT batch_id FROM results WHERE instance = {instance:String} AND id = {id:Int64}
    ))
  ), 'Tuple(id Int64, accepted UInt64, rejected UInt64)') AS batch
FROM results
WHERE instance = {instance:String} AND id = {id:Int64};
